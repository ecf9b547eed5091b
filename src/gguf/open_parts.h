// Opens the file a user named and, where it is one part of a split model, the others beside it.
#pragma once

#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "gguf/parse_header.h"

namespace metallic {

struct GgufPart {
  MappedFile file;
  GgufHeader header;
};

// All parts in order; one where the model is not split. Parts agree in their number and in the tensors they promise
// together.
Result<std::vector<GgufPart>> open_parts(const std::string& path);

}  // namespace metallic
