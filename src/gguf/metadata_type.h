// Facts about the metadata types that reader and writer share.
#pragma once

#include "metallic/gguf.h"

namespace metallic {

constexpr bool is_float_type(MetadataType type) {
  return type == MetadataType::kFloat32 || type == MetadataType::kFloat64;
}
constexpr bool is_signed_type(MetadataType type) {
  return type == MetadataType::kInt8 || type == MetadataType::kInt16 || type == MetadataType::kInt32 ||
         type == MetadataType::kInt64;
}
constexpr bool is_unsigned_type(MetadataType type) {
  return type == MetadataType::kUint8 || type == MetadataType::kUint16 || type == MetadataType::kUint32 ||
         type == MetadataType::kUint64;
}
constexpr bool is_integer_type(MetadataType type) { return is_signed_type(type) || is_unsigned_type(type); }

// Bytes of one number or bool in the file; 0 for strings and arrays.
size_t metadata_number_bytes(MetadataType type);

// The number or bool at `bytes`.
MetadataValue load_metadata_number(MetadataType type, const std::byte* bytes);

inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr uint64_t kDefaultAlignment = 32;
inline constexpr uint64_t kMinAlignment = 8;  // the specification: a multiple of 8

constexpr bool is_valid_alignment(uint64_t alignment) {
  return alignment >= kMinAlignment && alignment <= UINT32_MAX && (alignment & (alignment - 1)) == 0;
}

}  // namespace metallic
