// The data types and quantisation formats of GGUF tensors and of KV caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace metallic {

// How the elements of a tensor are stored. The values are the type ids of GGUF files (ggml's enum), but for kF8_E4M3.
enum class Format : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
  kF8_E4M3 = 0x80000000,  // base/float8.h; of KV caches alone: no file has it
};

struct FormatInfo {
  Format format;
  const char* name;    // as GGUF tools print it: "Q4_K"
  int block_elements;  // elements in one block; 1 for plain types
  int block_bytes;     // bytes of one block
};

// Every format that files have, in the order of their ids.
std::span<const FormatInfo> all_formats();

// The entry of `format`, which must be a known one.
const FormatInfo& format_info(Format format);

// The format of files with this GGUF type id or this name (upper or lower case); none if unknown.
std::optional<Format> format_from_id(uint32_t id);
std::optional<Format> format_from_name(std::string_view name);

// The same for a KV cache, which can also be in "F8_E4M3", or "FP8".
std::optional<Format> kv_format_from_name(std::string_view name);

// Bytes of `elements` consecutive elements; none if they are no whole number of blocks or the size overflows.
std::optional<uint64_t> format_bytes(Format format, uint64_t elements);

}  // namespace metallic
