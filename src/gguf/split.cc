#include "gguf/split.h"

#include <fmt/format.h>

#include <charconv>

#include "base/error.h"

namespace metallic {
namespace {

constexpr std::string_view kPattern = "-00000-of-00000.gguf";  // 0 stands for any digit

// Reads an integer key into `value`; false if it is absent.
Result<bool> read_key(const std::string& path, const GgufHeader& header, std::string_view key, uint64_t& value) {
  const MetadataValue* found = header.find(key);
  if (found == nullptr) return false;
  const std::optional<uint64_t> number = found->as_unsigned();
  if (!number)
    return fail(ErrorCode::kCorrupt, "{}: key '{}' ({}) must be an integer that is not negative; the file is damaged",
                path, key, metadata_type_name(found->type()));
  value = *number;
  return true;
}

}  // namespace

std::optional<SplitName> parse_split_name(std::string_view path) {
  if (path.size() <= kPattern.size()) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kPattern.size());
  for (size_t i = 0; i < tail.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (kPattern[i] == '0' ? !digit : tail[i] != kPattern[i]) return std::nullopt;
  }
  SplitName name{std::string(path.substr(0, path.size() - kPattern.size())), 0, 0};
  std::from_chars(tail.data() + 1, tail.data() + 6, name.number);
  std::from_chars(tail.data() + 10, tail.data() + 15, name.count);
  return name;
}

std::string split_part_path(std::string_view prefix, uint64_t number, uint64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number, count);
}

Result<SplitKeys> read_split_keys(const std::string& path, const GgufHeader& header) {
  SplitKeys keys;
  METALLIC_ASSIGN(const bool has_count, read_key(path, header, kSplitCountKey, keys.count));
  if (!has_count || keys.count <= 1) return SplitKeys{};
  METALLIC_ASSIGN(const bool has_number, read_key(path, header, kSplitNumberKey, keys.number));
  if (!has_number || keys.number >= keys.count)
    return fail(ErrorCode::kCorrupt, "{}: key '{}' must be there and below '{}' ({}); the file is damaged", path,
                kSplitNumberKey, kSplitCountKey, keys.count);
  uint64_t tensors = 0;
  METALLIC_ASSIGN(const bool has_tensors, read_key(path, header, kSplitTensorsKey, tensors));
  if (has_tensors) keys.tensors = tensors;
  return keys;
}

}  // namespace metallic
