// The header of one GGUF file, read and checked against the file's real size.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "gguf/metadata_type.h"
#include "metallic/gguf.h"

namespace metallic {

struct GgufHeader {
  uint32_t version = 0;
  uint64_t alignment = kDefaultAlignment;
  uint64_t bytes = 0;  // from the start of the file to the end of the tensor infos
  std::vector<MetadataEntry> metadata;
  std::vector<TensorInfo> tensors;

  const MetadataValue* find(std::string_view key) const;  // a plain search; null if absent
};

// Parses a whole file that lies in memory. Strings of the result are views into `file`. `path` is for messages;
// `file_index` becomes TensorInfo::file.
Result<GgufHeader> parse_gguf_header(std::string_view path, std::span<const std::byte> file, int file_index);

}  // namespace metallic
