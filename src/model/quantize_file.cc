#include "model/quantize_file.h"

#include <atomic>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "base/thread_pool.h"
#include "metallic/gguf.h"
#include "model/importance.h"
#include "model/quantize_mix.h"
#include "quant/dequantize.h"
#include "quant/quantize.h"

namespace metallic {
namespace {

constexpr uint32_t kQuantizationVersion = 2;  // of the block layouts; 2 since 2023
constexpr int64_t kSliceWeights = 1 << 16;    // a thread decodes so many at a time

struct KeepRule {
  std::string pattern;
  Format format;
};

Result<std::vector<KeepRule>> parse_keep(const std::vector<std::string>& texts) {
  std::vector<KeepRule> rules;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    const auto format = equals == std::string::npos ? std::nullopt : format_from_name(text.substr(equals + 1));
    if (equals == 0 || !format || !can_quantize(*format))
      return fail(ErrorCode::kInvalidArgument,
                  "'{}': expected PATTERN=FORMAT, for example output.weight=Q8_0 or blk.*.attn_v.*=Q6_K",
                  printable(text));
    rules.push_back({text.substr(0, equals), *format});
  }
  return rules;
}

// What becomes of one tensor.
struct TensorPlan {
  const TensorInfo* info;
  Format format;
  bool fallback = false;
  std::vector<float> importance;  // (matrices, columns), or empty
};

class Quantizer {
 public:
  Quantizer(const GgufFile& file, const QuantizeOptions& options)
      : file_(file), options_(options), pool_(options.threads) {}

  Status plan();
  Result<QuantizeReport> write(const std::string& path);

 private:
  Result<Format> planned_format(const TensorInfo& tensor, const MixFacts& facts, std::vector<bool>& rule_used) const;
  Status attach_importance(TensorPlan& plan) const;
  Result<std::span<const std::byte>> data_of(size_t index, uint64_t bytes);
  Result<std::span<const std::byte>> encoded(const TensorPlan& plan, uint64_t bytes);
  void encode_rows(const TensorPlan& plan, int64_t begin, int64_t end);
  void warn(const std::string& warning) const {
    if (options_.on_warning) options_.on_warning(warning);
  }

  const GgufFile& file_;
  const QuantizeOptions& options_;
  QuantizeType type_{};
  std::vector<KeepRule> rules_;
  std::optional<ImportanceMatrix> importance_;
  std::vector<TensorPlan> plans_;
  ThreadPool pool_;
  std::vector<std::byte> out_;
  std::atomic<bool> cancelled_{false};
  std::atomic<int64_t> bad_weight_{-1};  // index of a weight that is no finite number
};

Status Quantizer::plan() {
  METALLIC_ASSIGN(type_, find_quantize_type(options_.type));
  METALLIC_ASSIGN(rules_, parse_keep(options_.keep));
  METALLIC_ASSIGN(MixFacts facts, MixFacts::of(file_));
  if (!options_.importance_path.empty()) {
    METALLIC_ASSIGN(importance_, ImportanceMatrix::read(options_.importance_path));
    facts.has_importance = true;
  }
  std::vector<bool> rule_used(rules_.size());
  size_t requantized = 0;
  for (const TensorInfo& tensor : file_.tensors()) {
    TensorPlan plan{&tensor, tensor.format, false, {}};
    if (is_quantized(tensor)) {
      METALLIC_ASSIGN(const Format wanted, planned_format(tensor, facts, rule_used));
      plan.format = fitting_format(wanted, tensor.size[0]);
      plan.fallback = plan.format != wanted;
      METALLIC_TRY(attach_importance(plan));
      if (plan.format != tensor.format && format_info(tensor.format).block_elements > 1) ++requantized;
    }
    plans_.push_back(std::move(plan));
  }
  for (size_t i = 0; i < rules_.size(); ++i)
    if (!rule_used[i])
      return fail(ErrorCode::kInvalidArgument, "--keep {}: {} has no matrix with a name like that",
                  printable(options_.keep[i]), file_.path());
  if (requantized > 0)
    warn(
        fmt::format("{}: {} tensors are quantised already; going through float32 adds their error to the new one. "
                    "Start from F16, BF16 or F32 if you can",
                    file_.path(), requantized));
  return {};
}

Result<Format> Quantizer::planned_format(const TensorInfo& tensor, const MixFacts& facts,
                                         std::vector<bool>& rule_used) const {
  Format format = mix_format(type_, facts, tensor);
  for (size_t i = 0; i < rules_.size(); ++i)
    if (matches_glob(rules_[i].pattern, tensor.name)) {
      format = rules_[i].format;
      rule_used[i] = true;
    }
  return format;
}

Status Quantizer::attach_importance(TensorPlan& plan) const {
  const TensorInfo& tensor = *plan.info;
  if (importance_) {
    const auto found = importance_->tensors.find(std::string(tensor.name));
    if (found != importance_->tensors.end()) {
      const uint64_t matrices = tensor.size[2] * tensor.size[3];
      std::vector<float> values = found->second.mean_squares();
      if (values.size() == tensor.size[0] * matrices) {
        plan.importance = std::move(values);
      } else if (tensor.name != "token_embd.weight") {
        return fail(ErrorCode::kInvalidArgument,
                    "{}: has {} values for '{}', but {} has {} matrices of {} columns; is it from another model?",
                    options_.importance_path, values.size(), printable(tensor.name), file_.path(), matrices,
                    tensor.size[0]);
      }
    }
  }
  if (plan.format != tensor.format && plan.importance.empty() && needs_importance(type_, plan.format, tensor.name))
    return fail(ErrorCode::kInvalidArgument,
                "'{}' in {} needs an importance matrix{}: make one with `metallic imatrix` and give --imatrix FILE",
                printable(tensor.name), format_info(plan.format).name,
                importance_ ? ", but " + options_.importance_path + " does not have it" : "");
  return {};
}

// Rows [begin, end) of the tensor to out_.
void Quantizer::encode_rows(const TensorPlan& plan, int64_t begin, int64_t end) {
  const TensorInfo& tensor = *plan.info;
  const FormatInfo& from = format_info(tensor.format);
  const FormatInfo& to = format_info(plan.format);
  const int64_t columns = int64_t(tensor.size[0]), rows_of_matrix = int64_t(tensor.size[1]);
  const int64_t row_from = columns / from.block_elements * from.block_bytes;
  const int64_t row_to = columns / to.block_elements * to.block_bytes;
  const int64_t slice = std::max<int64_t>(1, kSliceWeights / columns);
  std::vector<float> weights(size_t(std::min(slice, end - begin) * columns));
  for (int64_t row = begin; row < end;) {
    if (options_.cancelled && options_.cancelled()) cancelled_ = true;
    if (cancelled_) return;
    const int64_t matrix = row / rows_of_matrix;
    const int64_t count = std::min({slice, end - row, (matrix + 1) * rows_of_matrix - row});
    dequantize_row(tensor.format, file_.tensor_data(tensor).data() + row * row_from, count * columns, weights.data());
    for (int64_t i = 0; i < count * columns; ++i)
      if (!std::isfinite(weights[size_t(i)])) {
        bad_weight_ = row * columns + i;
        return;
      }
    const float* const importance = plan.importance.empty() ? nullptr : plan.importance.data() + matrix * columns;
    quantize_rows(plan.format, weights.data(), count, columns, importance, out_.data() + row * row_to);
    row += count;
  }
}

Result<std::span<const std::byte>> Quantizer::encoded(const TensorPlan& plan, uint64_t bytes) {
  const TensorInfo& tensor = *plan.info;
  if (plan.format == tensor.format) return file_.tensor_data(tensor);
  out_.resize(bytes);
  const int64_t columns = int64_t(tensor.size[0]), rows = int64_t(tensor.elements()) / columns;
  pool_.parallel_for(rows, 1, [&](int64_t begin, int64_t end) { encode_rows(plan, begin, end); });
  if (cancelled_) return fail(ErrorCode::kCancelled, "interrupted; nothing was written");
  if (const int64_t index = bad_weight_; index >= 0)
    return fail(ErrorCode::kCorrupt, "{}: tensor '{}': weight {} of row {} is NaN or infinite; it cannot be quantised",
                file_.path(), printable(tensor.name), index % columns, index / columns);
  return std::span<const std::byte>(out_).first(bytes);
}

Result<std::span<const std::byte>> Quantizer::data_of(size_t index, uint64_t bytes) {
  const TensorPlan& plan = plans_[index];
  if (index > 0) file_.release(*plans_[index - 1].info);  // written by now
  if (options_.cancelled && options_.cancelled())
    return fail(ErrorCode::kCancelled, "interrupted; nothing was written");
  if (options_.on_tensor)
    options_.on_tensor({index, plans_.size(), std::string(plan.info->name), plan.info->format, plan.format,
                        plan.info->bytes, bytes, !plan.importance.empty(), plan.fallback});
  METALLIC_ASSIGN(const std::span<const std::byte> data, encoded(plan, bytes));
  METALLIC_TRY(file_.check_intact());
  return data;
}

Result<QuantizeReport> Quantizer::write(const std::string& path) {
  GgufWriter writer;
  for (const MetadataEntry& entry : file_.metadata())
    if (!entry.key.starts_with("split.")) writer.copy(entry.key, entry.value);
  writer.set_unsigned("general.quantization_version", kQuantizationVersion);
  writer.set_unsigned("general.file_type", uint32_t(type_.id));
  QuantizeReport report;
  for (const TensorPlan& plan : plans_) {
    const TensorInfo& tensor = *plan.info;
    METALLIC_TRY(writer.add_tensor(tensor.name, plan.format, std::span(tensor.size).first(size_t(tensor.rank))));
    report.bytes_from += tensor.bytes;
    report.bytes_to += *format_bytes(plan.format, tensor.elements());
    report.elements += tensor.elements();
    report.quantized += plan.format != tensor.format ? 1 : 0;
    report.fallbacks += plan.fallback ? 1 : 0;
  }
  METALLIC_TRY(writer.write(
      path, [this](size_t index, uint64_t bytes) { return data_of(index, bytes); },
      [this] { return file_.check_intact(); }));
  return report;
}

}  // namespace

bool matches_glob(std::string_view pattern, std::string_view text) {
  // The classic walk with one point to come back to: the last star, and the text it has not swallowed yet.
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<QuantizeReport> quantize_file(const std::string& input, const std::string& output,
                                     const QuantizeOptions& options) {
  METALLIC_TRY(find_quantize_type(options.type));  // a typing error is noticed before a large file is opened
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(input));
  Quantizer quantizer(file, options);
  METALLIC_TRY(quantizer.plan());
  return quantizer.write(output);
}

}  // namespace metallic
