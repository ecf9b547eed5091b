// The element types of safetensors files.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "metallic/format.h"

namespace metallic {

enum class SafetensorsType {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64,
};

struct SafetensorsTypeInfo {
  SafetensorsType type;
  std::string_view name;         // as in the file: "BF16"
  int bytes;                     // of one element
  std::optional<Format> format;  // the GGUF type of the same bytes, if there is one
};

std::span<const SafetensorsTypeInfo> all_safetensors_types();
const SafetensorsTypeInfo& safetensors_type_info(SafetensorsType type);
std::optional<SafetensorsType> safetensors_type_from_name(std::string_view name);

// Decodes `elements` numbers of any type, at any address, to float32. BOOL gives 0 and 1.
void safetensors_to_float(SafetensorsType type, const void* source, int64_t elements, float* out);

}  // namespace metallic
