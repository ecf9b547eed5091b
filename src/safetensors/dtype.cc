#include "safetensors/dtype.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/float8.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

constexpr auto kTypes = std::to_array<SafetensorsTypeInfo>({
    {SafetensorsType::kBool, "BOOL", 1, std::nullopt},
    {SafetensorsType::kU8, "U8", 1, std::nullopt},
    {SafetensorsType::kI8, "I8", 1, Format::kI8},
    {SafetensorsType::kF8E4M3, "F8_E4M3", 1, std::nullopt},
    {SafetensorsType::kF8E5M2, "F8_E5M2", 1, std::nullopt},
    {SafetensorsType::kI16, "I16", 2, Format::kI16},
    {SafetensorsType::kU16, "U16", 2, std::nullopt},
    {SafetensorsType::kF16, "F16", 2, Format::kF16},
    {SafetensorsType::kBF16, "BF16", 2, Format::kBF16},
    {SafetensorsType::kI32, "I32", 4, Format::kI32},
    {SafetensorsType::kU32, "U32", 4, std::nullopt},
    {SafetensorsType::kF32, "F32", 4, Format::kF32},
    {SafetensorsType::kI64, "I64", 8, Format::kI64},
    {SafetensorsType::kU64, "U64", 8, std::nullopt},
    {SafetensorsType::kF64, "F64", 8, Format::kF64},
});

// E5M2 of OCP's 8-bit floats is the upper half of a binary16.
float e5m2_to_float(uint8_t bits) {
  const uint16_t half = uint16_t(bits << 8);
  float value = 0;
  dequantize_row(Format::kF16, &half, 1, &value);
  return value;
}

template <class Number, class Convert>
void convert_all(const void* source, int64_t elements, float* out, Convert convert) {
  const auto* bytes = static_cast<const std::byte*>(source);
  for (int64_t i = 0; i < elements; ++i) {
    Number number;
    std::memcpy(&number, bytes + size_t(i) * sizeof(Number), sizeof(Number));
    out[i] = convert(number);
  }
}

}  // namespace

std::span<const SafetensorsTypeInfo> all_safetensors_types() { return kTypes; }

const SafetensorsTypeInfo& safetensors_type_info(SafetensorsType type) {
  METALLIC_CHECK(size_t(type) < kTypes.size() && kTypes[size_t(type)].type == type);
  return kTypes[size_t(type)];
}

std::optional<SafetensorsType> safetensors_type_from_name(std::string_view name) {
  for (const SafetensorsTypeInfo& info : kTypes)
    if (info.name == name) return info.type;
  return std::nullopt;
}

void safetensors_to_float(SafetensorsType type, const void* source, int64_t elements, float* out) {
  const auto plain = [](auto number) { return float(number); };
  switch (type) {
    case SafetensorsType::kBool:
      return convert_all<uint8_t>(source, elements, out, [](uint8_t bits) { return bits != 0 ? 1.0f : 0.0f; });
    case SafetensorsType::kU8:
      return convert_all<uint8_t>(source, elements, out, plain);
    case SafetensorsType::kU16:
      return convert_all<uint16_t>(source, elements, out, plain);
    case SafetensorsType::kU32:
      return convert_all<uint32_t>(source, elements, out, plain);
    case SafetensorsType::kU64:
      return convert_all<uint64_t>(source, elements, out, plain);
    case SafetensorsType::kF8E4M3:
      return convert_all<uint8_t>(source, elements, out, e4m3_to_float);
    case SafetensorsType::kF8E5M2:
      return convert_all<uint8_t>(source, elements, out, e5m2_to_float);
    default:
      return dequantize_row(*safetensors_type_info(type).format, source, elements, out);
  }
}

}  // namespace metallic
