// Splitting a GGUF file into parts and putting parts together, as llama.cpp's gguf-split names and marks them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "metallic/result.h"

namespace metallic::convert {

struct SplitLimits {
  uint64_t max_bytes = 0;    // of tensor data in a part, 0: any; a larger tensor gets a part of its own
  uint64_t max_tensors = 0;  // in a part, 0: any
};

// "2G" or "500M" (10^9, 10^6 bytes), or a number of bytes.
Result<uint64_t> parse_size(const std::string& text);

// Writes PREFIX-00001-of-00003.gguf and so on and returns their paths. The first part has all metadata. On failure no
// part of this call is left.
Result<std::vector<std::string>> split_gguf(const std::string& input, const std::string& prefix,
                                            const SplitLimits& limits);

// Writes all parts of the model that `part` belongs to as one file. kInvalidArgument if it is not split.
Status merge_gguf(const std::string& part, const std::string& output);

}  // namespace metallic::convert
