// The metadata of one GGUF file: key, type, value, as often as the header says.
#pragma once

#include <vector>

#include "gguf/cursor.h"
#include "metallic/gguf.h"

namespace metallic {

// Reads `count` entries at the cursor. Keys are checked to be distinct.
Result<std::vector<MetadataEntry>> parse_metadata(Cursor& cursor, uint64_t count);

}  // namespace metallic
