// The header of a safetensors file: JSON that says of each tensor its type, its shape and where its bytes are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"
#include "safetensors/dtype.h"

namespace metallic {

struct SafetensorsTensor {
  std::string name;
  SafetensorsType type = SafetensorsType::kF32;
  std::vector<uint64_t> shape;  // outermost first; empty for a scalar
  uint64_t begin = 0;           // of the bytes, from the end of the header
  uint64_t bytes = 0;

  uint64_t elements() const;  // checked by parse_safetensors_header: does not overflow
};

// Tensors in the order of their bytes. `json` is the header's text, `data_bytes` what follows it in the file. Checked:
// the JSON holds what the format allows and nothing else, names are unique, every size is the one that type and shape
// give, and the tensors fill the data without overlap or hole. Errors (kCorrupt, kUnsupported) do not name the file.
Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::string_view json, uint64_t data_bytes);

}  // namespace metallic
