// The tensor infos of one GGUF file, and whether the data they speak of is really there.
#pragma once

#include <vector>

#include "gguf/cursor.h"
#include "metallic/gguf.h"

namespace metallic {

// Reads `count` infos at the cursor; data begins at the next multiple of `alignment` after them. Names are checked to
// be distinct, shapes to be sound, data to be aligned, inside the file and without overlap.
Result<std::vector<TensorInfo>> parse_tensors(Cursor& cursor, uint64_t count, uint64_t alignment, int file_index);

}  // namespace metallic
