#include "engine/key_biases.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "quant/dequantize.h"

namespace metallic {
namespace {

constexpr int kFewBits = 10;     // of a number, its scale included
constexpr float kFarAbove = 16;  // times the median: four of eight bits are lost there

}  // namespace

std::optional<std::string> warning_of_key_biases(const GgufFile& file, int layers, Format keys) {
  const FormatInfo& info = format_info(keys);
  if (info.block_bytes * 8 > kFewBits * info.block_elements) return std::nullopt;
  float worst = kFarAbove;
  std::optional<std::string> result;
  std::vector<float> sizes;
  for (int layer = 0; layer < layers; ++layer) {
    const TensorInfo* tensor = file.find_tensor(fmt::format("blk.{}.attn_k.bias", layer));
    if (tensor == nullptr) continue;
    sizes.resize(size_t(tensor->elements()));
    dequantize_row(tensor->format, file.tensor_data(*tensor).data(), int64_t(sizes.size()), sizes.data());
    for (float& size : sizes) size = std::fabs(size);
    const auto middle = sizes.begin() + ptrdiff_t(sizes.size() / 2);
    std::nth_element(sizes.begin(), middle, sizes.end());
    const float median = *middle, most = *std::max_element(sizes.begin(), sizes.end());
    if (!(median > 0) || !(most > worst * median)) continue;
    worst = most / median;
    result = fmt::format(
        "keys in {}: a bias of block {} is {:.3g}, where half of them are below {:.3g}; the smaller numbers of a key "
        "lose most of their bits beside it, and answers may be worse than with keys in F16",
        info.name, layer, most, median);
  }
  return result;
}

}  // namespace metallic
