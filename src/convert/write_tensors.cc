#include "convert/write_tensors.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "quant/dequantize.h"

namespace metallic::convert {
namespace {

constexpr int64_t kChunk = 8192;  // elements converted at once: 32 KB of floats, which a first-level cache holds

// GGUF's MXFP4 block: the scale, then byte j with weight j in its low and weight j + 16 in its high half. Hugging
// Face's byte j has the weights 2j and 2j + 1.
constexpr int64_t kMxfp4Bytes = 17;

void repack_mxfp4(const uint8_t* codes, uint8_t scale, uint8_t* block) {
  const auto code = [&](int i) { return i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4; };
  block[0] = scale;
  for (int j = 0; j < 16; ++j) block[1 + j] = uint8_t(code(j) | code(j + 16) << 4);
}

void make_mxfp4(const Mxfp4Source& source, ThreadPool& pool, std::byte* out) {
  constexpr int64_t kBlocks = kChunk / 16;
  pool.parallel_for(source.scales->elements(), kBlocks, [&](int64_t begin, int64_t end) {
    std::vector<float> codes(static_cast<size_t>(kChunk)), scales(static_cast<size_t>(kBlocks));
    for (int64_t at = begin; at < end; at += kBlocks) {  // bytes pass through floats, which hold them exactly
      const int64_t count = std::min(kBlocks, end - at);
      source.codes->read(16 * at, 16 * count, codes.data());
      source.scales->read(at, count, scales.data());
      for (int64_t i = 0; i < count; ++i) {
        uint8_t bytes[16];
        std::transform(&codes[size_t(16 * i)], &codes[size_t(16 * i)] + 16, bytes, [](float x) { return uint8_t(x); });
        repack_mxfp4(bytes, uint8_t(scales[size_t(i)]), reinterpret_cast<uint8_t*>(out + (at + i) * kMxfp4Bytes));
      }
    }
  });
}

// Elements of one part to their place in `out`.
void make_part(const WeightView& part, float add, Format format, ThreadPool& pool, std::byte* out) {
  const FormatInfo& info = format_info(format);
  const QuantizeRow encode = quantize_function(format);
  METALLIC_CHECK(encode != nullptr && kChunk % info.block_elements == 0);
  pool.parallel_for(part.elements(), kChunk, [&](int64_t begin, int64_t end) {
    std::vector<float> values(static_cast<size_t>(kChunk));
    for (int64_t at = begin; at < end; at += kChunk) {
      const int64_t count = std::min(kChunk, end - at);
      part.read(at, count, values.data());
      if (add != 0)
        for (int64_t i = 0; i < count; ++i) values[size_t(i)] += add;
      encode(values.data(), count, out + at / info.block_elements * info.block_bytes);
    }
  });
}

bool is_copy(const PlannedTensor& tensor, const WeightView& part) {
  const auto same = safetensors_type_info(part.tensor().info->type).format;
  return tensor.add == 0 && same && *same == tensor.format && !part.tensor().scales && part.is_dense();
}

bool stays_float(const PlannedTensor& tensor) {
  const std::string_view name = tensor.name;
  if (tensor.shape.size() <= 1 || !name.ends_with(".weight") || name.ends_with("_norm.weight")) return true;
  for (const std::string_view part : {"ffn_gate_inp", "position_embd", "token_types"})
    if (name.find(part) != std::string_view::npos) return true;
  return false;
}

}  // namespace

Format choose_format(const PlannedTensor& tensor, std::optional<Format> wanted) {
  if (tensor.mxfp4) return Format::kMXFP4;
  if (stays_float(tensor) || tensor.parts.empty()) return Format::kF32;
  if (!wanted) {
    const SafetensorsType type = tensor.parts.begin()->second.tensor().info->type;
    if (type == SafetensorsType::kBF16 || type == SafetensorsType::kF8E4M3 || type == SafetensorsType::kF8E5M2)
      return Format::kBF16;
    return type == SafetensorsType::kF16 ? Format::kF16 : Format::kF32;
  }
  if (tensor.shape.back() % format_info(*wanted).block_elements != 0) return Format::kF16;
  return *wanted;
}

std::span<const std::byte> make_bytes(const PlannedTensor& tensor, ThreadPool& pool, std::vector<std::byte>& scratch) {
  const std::optional<uint64_t> bytes = format_bytes(tensor.format, uint64_t(tensor.elements()));
  METALLIC_CHECK(bytes.has_value());
  if (tensor.parts.size() == 1 && is_copy(tensor, tensor.parts.begin()->second))
    return tensor.parts.begin()->second.bytes();
  scratch.resize(size_t(*bytes));
  if (tensor.mxfp4) {
    make_mxfp4(*tensor.mxfp4, pool, scratch.data());
    return scratch;
  }
  if (tensor.parts.empty()) {
    quantize_row(tensor.format, tensor.values.data(), int64_t(tensor.values.size()), scratch.data());
    return scratch;
  }
  const size_t part_bytes = scratch.size() / tensor.parts.size();
  for (const auto& [index, part] : tensor.parts) {
    std::byte* out = scratch.data() + size_t(index) * part_bytes;
    if (is_copy(tensor, part))
      std::memcpy(out, part.bytes().data(), part_bytes);
    else
      make_part(part, tensor.add, tensor.format, pool, out);
  }
  return scratch;
}

}  // namespace metallic::convert
