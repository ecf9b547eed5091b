#include "convert/convert.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/printable.h"
#include "convert/arch.h"
#include "convert/vocab.h"
#include "convert/write_tensors.h"

namespace metallic::convert {
namespace {

// general.file_type: what most matrices are.
uint32_t file_type(Format format) {
  switch (format) {
    case Format::kF16:
      return 1;
    case Format::kQ8_0:
      return 7;
    case Format::kBF16:
      return 32;
    case Format::kMXFP4:
      return 38;
    default:
      return 0;
  }
}

// The format of the most elements.
Format main_format(const std::vector<PlannedTensor>& tensors) {
  std::map<Format, int64_t> elements;
  for (const PlannedTensor& tensor : tensors) elements[tensor.format] += tensor.elements();
  const auto most = std::ranges::max_element(elements, {}, [](const auto& entry) { return entry.second; });
  return most->first;
}

// What a checkpoint becomes.
struct Planned {
  std::vector<PlannedTensor> tensors;
  std::vector<PlannedKey> keys;
};

// config.json, with the language model's part in front where there are several.
Result<JsonObject> open_config(const std::string& folder) {
  METALLIC_ASSIGN(JsonObject config, JsonObject::open((std::filesystem::path(folder) / "config.json").string()));
  if (!config.has({"text_config"})) return config;
  METALLIC_ASSIGN(const JsonObject text, config.object({"text_config"}));
  return config.overlaid_with(text);
}

Result<const ConvertArch*> find_arch(const JsonObject& config) {
  METALLIC_ASSIGN(const std::vector<std::string> names, config.texts({"architectures"}));
  auto arch = find_convert_arch(names.empty() ? "" : names.front(), config);
  if (!arch) return fail_while(config.path(), arch.error());
  return arch;
}

// What quantization_config says of the weights: nothing, MXFP4 (gpt-oss; its tensors have rules) or FP8 with block
// scales.
Status read_quantisation(const JsonObject& config, Checkpoint& checkpoint) {
  if (!config.has({"quantization_config"})) return {};
  METALLIC_ASSIGN(const JsonObject quantisation, config.object({"quantization_config"}));
  METALLIC_ASSIGN(const std::string method, quantisation.text_or({"quant_method"}, ""));
  if (method == "mxfp4") return {};
  if (method != "fp8" || !quantisation.has({"weight_block_size"}))
    return fail(
        ErrorCode::kUnsupported,
        "{}: the checkpoint is quantised with '{}'; known are mxfp4 and fp8 with weight_block_size: convert the "
        "checkpoint that it was made from",
        config.path(), printable(method));
  METALLIC_ASSIGN(const std::vector<double> block, quantisation.numbers({"weight_block_size"}));
  const auto is_size = [](double size) { return size >= 1 && size <= 65536 && size == std::floor(size); };
  if (block.size() != 2 || !std::ranges::all_of(block, is_size))
    return fail(ErrorCode::kCorrupt, "{}: weight_block_size must be two sizes from 1 to 65536", config.path());
  return checkpoint.attach_block_scales(int64_t(block[0]), int64_t(block[1]));
}

// generation_config.json: how the model's authors sample.
Status write_sampling_keys(const std::string& folder, GgufWriter& writer) {
  const std::filesystem::path path = std::filesystem::path(folder) / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  METALLIC_ASSIGN(const JsonObject values, JsonObject::open(path.string()));
  if (values.has({"top_k"})) {
    METALLIC_ASSIGN(const int64_t top_k, values.integer({"top_k"}));
    if (top_k >= 0 && top_k <= INT32_MAX) writer.set("general.sampling.top_k", MetadataType::kInt32, top_k);
  }
  constexpr std::pair<const char*, const char*> kNumbers[] = {
      {"temperature", "temp"}, {"top_p", "top_p"}, {"min_p", "min_p"}, {"repetition_penalty", "penalty_repeat"}};
  for (const auto& [from, to] : kNumbers) {
    if (!values.has({from})) continue;
    METALLIC_ASSIGN(const double value, values.number({from}));
    writer.set_float(std::string("general.sampling.") + to, float(value));
  }
  return {};
}

Status write_metadata(const HfModel& model, const ConvertArch& arch, const ConvertOptions& options,
                      const Planned& planned, GgufWriter& writer) {
  writer.set_string("general.architecture", arch.name);
  writer.set_string("general.type", "model");
  const std::filesystem::path folder = std::filesystem::absolute(model.folder).lexically_normal();
  const std::filesystem::path name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  writer.set_string("general.name", name.string());
  METALLIC_TRY(write_sampling_keys(model.folder, writer));
  KeyWriter keys(writer, arch.name);
  METALLIC_TRY(write_common_keys(model, keys));
  if (arch.write_keys != nullptr) METALLIC_TRY(arch.write_keys(model, keys));
  for (const PlannedKey& key : planned.keys) keys.numbers(key.key, key.values());
  if (Status status = keys.status(); !status) return fail_while(model.config.path(), status.error());
  writer.set_unsigned("general.file_type", file_type(main_format(planned.tensors)));
  writer.set_unsigned("general.quantization_version", 2);
  METALLIC_ASSIGN(const ExportedVocab vocab, read_vocab(model, arch, options.pre_tokenizer));
  write_vocab(vocab, model, writer);
  return {};
}

Result<Planned> plan_tensors(const HfModel& model, const ConvertArch& arch, const Checkpoint& checkpoint,
                             const ConvertOptions& options) {
  TensorPlan plan;
  // A tied head is the embedding, whatever the checkpoint has beside it.
  METALLIC_ASSIGN(const bool tied, model.config.flag_or({"tie_word_embeddings"}, false));
  RuleOptions rules = arch.options;
  std::vector<std::string_view> dropped(rules.dropped.begin(), rules.dropped.end());
  if (tied) dropped.insert(dropped.end(), {"lm_head.weight", "embed_out.weight"});
  rules.dropped = dropped;
  METALLIC_TRY(apply_rules(checkpoint, arch.rules, rules, model.dims, plan));
  METALLIC_TRY(add_llama3_factors(model.rope, model.dims['D'], plan));
  if (arch.add_tensors != nullptr) METALLIC_TRY(arch.add_tensors(model, plan));
  Planned planned{plan.take(), plan.take_keys()};
  for (PlannedTensor& tensor : planned.tensors) tensor.format = choose_format(tensor, options.format);
  return planned;
}

Status write_file(const Checkpoint& checkpoint, const std::vector<PlannedTensor>& tensors, GgufWriter& writer,
                  const std::string& output, const ConvertOptions& options, ConvertSummary& summary) {
  for (const PlannedTensor& tensor : tensors) {
    const std::vector<uint64_t> size(tensor.shape.rbegin(), tensor.shape.rend());
    METALLIC_TRY(writer.add_tensor(tensor.name, tensor.format, size));
  }
  ThreadPool pool(options.threads);
  std::vector<std::byte> scratch;
  const auto release = [&](const PlannedTensor& tensor) {
    for (const auto& [index, part] : tensor.parts) part.tensor().file->release(*part.tensor().info);
  };
  const auto data = [&](size_t index, uint64_t bytes) -> Result<std::span<const std::byte>> {
    if (index > 0) release(tensors[index - 1]);
    if (options.progress) options.progress({index, tensors.size(), tensors[index].name, summary.bytes});
    summary.bytes += bytes;
    return make_bytes(tensors[index], pool, scratch);
  };
  return writer.write(output, data, [&] { return checkpoint.check_intact(); });
}

}  // namespace

Result<ConvertSummary> convert_folder(const std::string& folder, const std::string& output,
                                      const ConvertOptions& options) {
  METALLIC_ASSIGN(JsonObject config, open_config(folder));
  METALLIC_ASSIGN(const ConvertArch* arch, find_arch(config));
  METALLIC_ASSIGN(const JsonObject defaults, JsonObject::parse(config.path(), arch->defaults));
  config = defaults.overlaid_with(config);
  METALLIC_ASSIGN(const HfModel model, read_model(folder, *arch, std::move(config)));
  METALLIC_ASSIGN(Checkpoint checkpoint, Checkpoint::open(folder));
  METALLIC_TRY(read_quantisation(model.config, checkpoint));
  auto planned = plan_tensors(model, *arch, checkpoint, options);
  if (!planned) {
    const bool placed = planned.error().message.starts_with(folder);
    return placed ? tl::unexpected<Error>(planned.error()) : fail_while(folder, planned.error());
  }
  GgufWriter writer;
  METALLIC_TRY(write_metadata(model, *arch, options, *planned, writer));
  const std::vector<PlannedTensor>& tensors = planned->tensors;
  ConvertSummary summary{std::string(arch->name), tensors.size(), 0};
  METALLIC_TRY(write_file(checkpoint, tensors, writer, output, options, summary));
  if (options.progress) options.progress({tensors.size(), tensors.size(), "", summary.bytes});
  return summary;
}

}  // namespace metallic::convert
