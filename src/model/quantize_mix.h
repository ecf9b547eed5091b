// Which format each tensor of a file gets under a type such as Q4_K_M: the mixes that users of llama.cpp know by these
// names. Pure: it knows names and sizes, no data.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/gguf.h"

namespace metallic {

// A type that `metallic quantize` can be asked for. `id` is general.file_type in the file.
enum class FileType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 7,
  kQ5_0 = 8,
  kQ5_1 = 9,
  kQ2_K = 10,
  kQ3_K_S = 11,
  kQ3_K_M = 12,
  kQ3_K_L = 13,
  kQ4_K_S = 14,
  kQ4_K_M = 15,
  kQ5_K_S = 16,
  kQ5_K_M = 17,
  kQ6_K = 18,
  kIQ2_XXS = 19,
  kIQ2_XS = 20,
  kQ2_K_S = 21,
  kIQ3_XS = 22,
  kIQ3_XXS = 23,
  kIQ1_S = 24,
  kIQ4_NL = 25,
  kIQ3_S = 26,
  kIQ3_M = 27,
  kIQ2_S = 28,
  kIQ2_M = 29,
  kIQ4_XS = 30,
  kIQ1_M = 31,
  kBF16 = 32,
  kTQ1_0 = 36,
  kTQ2_0 = 37,
  kMXFP4_MOE = 38,
  kNVFP4 = 39,
  kQ1_0 = 40,
};

struct QuantizeType {
  FileType id;
  const char* name;
  Format format;  // of most tensors
};

// In order of size, largest first.
std::span<const QuantizeType> quantize_types();
// Also Q3_K, Q4_K and Q5_K for their _M; upper or lower case. kInvalidArgument lists all.
Result<QuantizeType> find_quantize_type(std::string_view name);

// What the mixes ask of a model.
struct MixFacts {
  int layers = 0;
  int experts = 0;
  int heads_per_kv_head = 1;
  bool has_output = false;  // an output.weight of its own; else the token embedding is the head too
  bool has_importance = false;
  std::vector<int> attention_layers;  // layers with a value projection, ascending

  static Result<MixFacts> of(const GgufFile& file);
};

// Whether the tensor is a matrix that types with blocks may store: no norm, bias, router, position embedding or other
// small tensor; those stay as they are.
bool is_quantized(const TensorInfo& tensor);

// The format of a tensor with is_quantized(), whatever its row size.
Format mix_format(const QuantizeType& type, const MixFacts& facts, const TensorInfo& tensor);

// `format`, or what takes its place for rows that are no whole number of its blocks.
Format fitting_format(Format format, uint64_t columns);

// Whether the result without an importance matrix would be useless, so that it is refused.
bool needs_importance(const QuantizeType& type, Format format, std::string_view tensor);

}  // namespace metallic
