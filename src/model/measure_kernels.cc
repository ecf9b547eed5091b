#include "model/measure_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "backend/weight_bytes.h"
#include "base/available_memory.h"
#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kPiece = uint64_t{24} << 20;  // bytes of a matrix that are loaded
constexpr uint64_t kAll = uint64_t{512} << 20;   // so many together that no cache holds much of them
constexpr int64_t kTokens = 256;                 // of a prompt
constexpr double kMinorShare = 0.03;             // formats of less than that are not measured
constexpr size_t kTargets = 4;                   // matrices that are multiplied in one operation
constexpr int kTries = 3;

bool is_multiplied(const TensorInfo& tensor) {
  return tensor.rank >= 2 && tensor.name != "position_embd.weight" && tensor.name != "token_types.weight";
}

struct FormatShare {
  double bytes = 0, weights = 0;
  const TensorInfo* largest = nullptr;
};

std::map<Format, FormatShare> shares_of(const GgufFile& file) {
  std::map<Format, FormatShare> shares;
  double total = 0;
  const bool own_head = file.find_tensor("output.weight") != nullptr;
  for (const TensorInfo& tensor : file.tensors()) {
    if (!is_multiplied(tensor) || (own_head && tensor.name == "token_embd.weight")) continue;
    FormatShare& share = shares[tensor.format];
    share.bytes += double(tensor.bytes);
    share.weights += double(tensor.elements());
    const auto matrix_bytes = [](const TensorInfo& info) { return info.bytes / (info.size[2] * info.size[3]); };
    // The head is wider than all else, and not like it.
    const bool head = tensor.name == "token_embd.weight" || tensor.name == "output.weight";
    if (share.largest == nullptr || (!head && matrix_bytes(tensor) > matrix_bytes(*share.largest)))
      share.largest = &tensor;
    total += double(tensor.bytes);
  }
  std::erase_if(shares, [&](const auto& entry) { return entry.second.bytes < kMinorShare * total; });
  return shares;
}

// Times products of one and of many tokens with rows of a matrix, of which it loads several copies.
class KernelTimer {
 public:
  KernelTimer(Backend& backend, const TensorInfo& tensor) : backend_(backend), tensor_(tensor) {}

  Result<KernelRates> run(const GgufFile& file) {
    METALLIC_TRY(load(file));
    METALLIC_ASSIGN(x_, floats(kTokens * columns_));
    METALLIC_ASSIGN(out_, floats(kTokens * rows_ * int64_t(kTargets)));
    backend_.random_uniform(TensorView::dense(x_.get(), Format::kF32, {kTokens, columns_}), -1, 1, 1);
    KernelRates rates;
    METALLIC_ASSIGN(const double decode, seconds(1, weights_.size()));
    METALLIC_ASSIGN(const double prompt, seconds(kTokens, std::min(kTargets, weights_.size())));
    rates.decode_bytes_per_second = double(bytes_) * double(weights_.size()) / decode;
    rates.prompt_operations_per_second =
        2.0 * double(kTokens) * double(rows_) * double(columns_) * double(std::min(kTargets, weights_.size())) / prompt;
    return rates;
  }

 private:
  Status load(const GgufFile& file) {
    columns_ = int64_t(tensor_.size[0]);
    const uint64_t row_bytes = *format_bytes(tensor_.format, tensor_.size[0]);
    rows_ = int64_t(std::clamp<uint64_t>(kPiece / row_bytes, 1, tensor_.size[1]));
    const bool cpu = backend_.name().starts_with("cpu");
    bytes_ =
        cpu ? cpu_weight_bytes(tensor_.format, rows_, columns_) : gpu_weight_bytes(tensor_.format, rows_, columns_);
    const uint64_t room = std::min(kAll, available_memory() / 8);
    const uint64_t copies = std::clamp<uint64_t>(room / std::max<uint64_t>(1, bytes_), 1, 256);
    // Never written: a Weight is only read.
    auto* data = const_cast<std::byte*>(file.tensor_data(tensor_).data());
    for (uint64_t i = 0; i < copies; ++i) {
      METALLIC_ASSIGN(Weight weight,
                      backend_.load_weight(TensorView::dense(data, tensor_.format, {rows_, columns_}), nullptr));
      weights_.push_back(std::move(weight));
    }
    return {};
  }

  Result<std::shared_ptr<void>> floats(int64_t count) { return backend_.allocate(uint64_t(count) * sizeof(float)); }

  // Of products with the first `count` weights, several in one operation, as those that share their input are.
  Result<double> seconds(int64_t tokens, size_t count) {
    double best = 0;
    for (int i = 0; i <= kTries; ++i) {  // the first to get ready
      const auto start = std::chrono::steady_clock::now();
      for (size_t first = 0; first < count; first += kTargets) {
        std::vector<LinearTarget> targets;
        for (size_t w = first; w < std::min(count, first + kTargets); ++w)
          targets.push_back({&weights_[w], nullptr,
                             TensorView::dense(static_cast<float*>(out_.get()) + int64_t(w - first) * kTokens * rows_,
                                               Format::kF32, {tokens, rows_}),
                             false});
        backend_.linear({TensorView::dense(x_.get(), Format::kF32, {tokens, columns_}), targets});
      }
      METALLIC_TRY(backend_.synchronize());
      const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (i > 0) best = i == 1 ? time : std::min(best, time);
    }
    return best;
  }

  Backend& backend_;
  const TensorInfo& tensor_;
  int64_t rows_ = 0, columns_ = 0;
  uint64_t bytes_ = 0;  // of one copy, as the backend keeps it
  std::vector<Weight> weights_;
  std::shared_ptr<void> x_, out_;
};

}  // namespace

Result<KernelRates> measure_kernels(Backend* backend, const GgufFile& file, const std::string& device,
                                    RateCache& cache) {
  double bytes = 0, weights = 0, decode_seconds = 0, prompt_seconds = 0;
  for (const auto& [format, share] : shares_of(file)) {
    const std::string name = fmt::format("{} {} {}", device, format_info(format).name, share.largest->size[0]);
    auto decode = cache.find(name + " decode"), prompt = cache.find(name + " prompt");
    if (!decode || !prompt) {
      if (backend == nullptr) return KernelRates{};
      METALLIC_ASSIGN(const KernelRates rates, KernelTimer(*backend, *share.largest).run(file));
      cache.set(name + " decode", *(decode = rates.decode_bytes_per_second));
      cache.set(name + " prompt", *(prompt = rates.prompt_operations_per_second));
    }
    bytes += share.bytes;
    weights += share.weights;
    decode_seconds += share.bytes / *decode;
    prompt_seconds += 2 * share.weights / *prompt;
  }
  if (bytes == 0) return KernelRates{};
  return KernelRates{bytes / decode_seconds, 2 * weights / prompt_seconds};
}

}  // namespace metallic
