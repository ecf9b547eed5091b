// Models split over several files: NAME-00001-of-00005.gguf and so on, and the keys that say so.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gguf/parse_header.h"

namespace metallic {

inline constexpr std::string_view kSplitNumberKey = "split.no";  // from 0
inline constexpr std::string_view kSplitCountKey = "split.count";
inline constexpr std::string_view kSplitTensorsKey = "split.tensors.count";  // of all parts together

struct SplitName {
  std::string prefix;   // with the folder, without "-00001-of-00005.gguf"
  uint64_t number = 0;  // from 1
  uint64_t count = 0;
};

// None if `path` is not named like a part.
std::optional<SplitName> parse_split_name(std::string_view path);
std::string split_part_path(std::string_view prefix, uint64_t number, uint64_t count);

// What the metadata says of the part; a file without these keys is the only part.
struct SplitKeys {
  uint64_t number = 0;  // from 0
  uint64_t count = 1;
  std::optional<uint64_t> tensors;
};
Result<SplitKeys> read_split_keys(const std::string& path, const GgufHeader& header);

}  // namespace metallic
