// A GGUF file in, the same model in another format out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "metallic/format.h"
#include "metallic/result.h"

namespace metallic {

struct QuantizeProgress {
  size_t tensor = 0, tensors = 0;  // this one, from 0, and how many there are
  std::string name;
  Format from = Format::kF32, to = Format::kF32;
  uint64_t bytes_from = 0, bytes_to = 0;
  bool important = false;  // the importance matrix was used
  bool fallback = false;   // the rows did not fit the format that the type asks for
};

struct QuantizeOptions {
  std::string type;             // a name of quantize_types()
  std::string importance_path;  // of an importance matrix, or empty
  // PATTERN=TYPE: matrices whose name matches (* is any text, ? any character) get this format, whatever the type says;
  // the last match counts.
  std::vector<std::string> keep;
  int threads = 0;                                         // 0: one for each core
  std::function<void(const QuantizeProgress&)> on_tensor;  // before each tensor
  std::function<void(const std::string& warning)> on_warning;
  std::function<bool()> cancelled;  // asked between slices of a tensor, by any thread
};

struct QuantizeReport {
  uint64_t bytes_from = 0, bytes_to = 0;  // of all tensors
  uint64_t elements = 0;
  size_t quantized = 0, fallbacks = 0;  // tensors
};

// Works tensor by tensor: memory holds one tensor of the input, as far as it has been read, and one of the output.
// `output` appears complete or not at all, and may be `input` itself. Errors: kInvalidArgument (unknown type or
// pattern, a type that needs importance, an importance matrix that does not fit), kCorrupt (a weight that is no finite
// number), kCancelled.
Result<QuantizeReport> quantize_file(const std::string& input, const std::string& output,
                                     const QuantizeOptions& options);

// Whether `pattern` (*, ?) matches all of `text`.
bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace metallic
