// A Hugging Face folder to a GGUF file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "metallic/format.h"
#include "metallic/result.h"

namespace metallic::convert {

struct ConvertOptions {
  std::optional<Format> format;  // F32, F16, BF16 or Q8_0 for matrices; none: as in the checkpoint
  std::string pre_tokenizer;     // overrides the detection
  int threads = 0;               // 0: one for each core
  // Called before each tensor is converted and once at the end. May be empty.
  struct Progress {
    size_t tensor, tensors;
    std::string_view name;
    uint64_t bytes;  // written so far
  };
  std::function<void(const Progress&)> progress;
};

struct ConvertSummary {
  std::string architecture;  // general.architecture
  size_t tensors = 0;
  uint64_t bytes = 0;  // of all tensors
};

// Reads config.json, the checkpoint and the tokenizer files of `folder` and writes `output`, one tensor at a time: more
// than the largest tensor is never held. The file appears under its name only when it is complete. Errors name the file
// and the key or tensor.
Result<ConvertSummary> convert_folder(const std::string& folder, const std::string& output,
                                      const ConvertOptions& options = {});

}  // namespace metallic::convert
