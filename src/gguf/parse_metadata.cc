#include "gguf/parse_metadata.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "gguf/metadata_type.h"
#include "gguf/name_index.h"

namespace metallic {
namespace {

constexpr int kMaxDepth = 16;  // of arrays in arrays
// Elements that cost more memory here than in the file; far above what any model has (a vocabulary has 10^5 to 10^6
// strings).
constexpr uint64_t kMaxStrings = uint64_t(1) << 26;
constexpr uint64_t kMaxNestedArrays = uint64_t(1) << 20;

class MetadataParser {
 public:
  explicit MetadataParser(Cursor& cursor) : cursor_(cursor) {}

  Result<MetadataEntry> read_entry() {
    cursor_.leave();
    METALLIC_ASSIGN(const std::string_view key, read_name(cursor_, "a metadata key"));
    cursor_.enter("key", key);
    METALLIC_ASSIGN(const MetadataType type, read_type("the value type"));
    METALLIC_ASSIGN(MetadataValue value, read_value(type));
    return MetadataEntry{key, std::move(value)};
  }

 private:
  Result<MetadataType> read_type(std::string_view what) {
    const uint64_t start = cursor_.offset();
    METALLIC_ASSIGN(const uint32_t type, cursor_.read<uint32_t>(what));
    if (type > uint32_t(MetadataType::kFloat64))
      return cursor_.corrupt_at(start, "{} is {}, known are 0 to 12; the file is damaged or newer than this metallic",
                                what, type);
    return MetadataType(type);
  }

  Result<MetadataValue> read_value(MetadataType type) {
    if (type == MetadataType::kString) {
      METALLIC_ASSIGN(const std::string_view text, cursor_.read_string("the string"));
      return MetadataValue(type, text);
    }
    if (type == MetadataType::kArray) {
      METALLIC_ASSIGN(MetadataArray array, read_array(1));
      return MetadataValue(type, std::make_shared<const MetadataArray>(std::move(array)));
    }
    const size_t bytes = metadata_number_bytes(type);
    if (cursor_.remaining() < bytes) return cursor_.ended_inside("the value", bytes);
    if (type == MetadataType::kBool) METALLIC_TRY(check_bools(1));
    const std::byte* start = cursor_.here();
    cursor_.skip(bytes);
    return load_metadata_number(type, start);
  }

  Result<MetadataArray> read_array(int depth) {
    const uint64_t start = cursor_.offset();
    if (depth > kMaxDepth)
      return cursor_.corrupt_at(start, "arrays are nested more than {} deep; the file is damaged or hostile",
                                kMaxDepth);
    METALLIC_ASSIGN(const MetadataType type, read_type("the element type"));
    METALLIC_ASSIGN(const uint64_t count, cursor_.read_count("the length of the array"));
    METALLIC_TRY(check_count(start, type, count));
    if (type == MetadataType::kString) return read_strings(count);
    if (type == MetadataType::kArray) return read_arrays(count, depth);
    if (type == MetadataType::kBool) METALLIC_TRY(check_bools(count));
    MetadataArray array = MetadataArray::of_numbers(type, cursor_.here(), size_t(count));
    cursor_.skip(count * metadata_number_bytes(type));  // no overflow: check_count compared it with what is left
    return array;
  }

  // Refuses a count that the rest of the file cannot hold, before anything is allocated for it.
  Status check_count(uint64_t start, MetadataType type, uint64_t count) {
    uint64_t least = metadata_number_bytes(type);
    if (type == MetadataType::kString) least = cursor_.count_bytes();
    if (type == MetadataType::kArray) least = sizeof(uint32_t) + cursor_.count_bytes();
    if (count > cursor_.remaining() / least)
      return cursor_.corrupt_at(
          start,
          "an array of {} {} elements takes at least {} bytes each, but only {} bytes follow; the file "
          "is truncated or damaged",
          count, metadata_type_name(type), least, cursor_.remaining());
    uint64_t unused = 0;
    uint64_t& total = type == MetadataType::kString ? strings_ : type == MetadataType::kArray ? nested_arrays_ : unused;
    const uint64_t limit = type == MetadataType::kString ? kMaxStrings : kMaxNestedArrays;
    if (&total != &unused && count > limit - total)
      return cursor_.corrupt_at(start, "an array of {} {} elements goes beyond the limit of {} in one file", count,
                                metadata_type_name(type), limit);
    total += count;
    return {};
  }

  Result<MetadataArray> read_strings(uint64_t count) {
    std::vector<std::string_view> strings;
    strings.reserve(size_t(count));
    for (uint64_t i = 0; i < count; ++i) {
      METALLIC_ASSIGN(const std::string_view text, cursor_.read_string("a string of the array"));
      strings.push_back(text);
    }
    return MetadataArray::of_strings(std::move(strings));
  }

  Result<MetadataArray> read_arrays(uint64_t count, int depth) {
    std::vector<std::shared_ptr<const MetadataArray>> arrays;
    for (uint64_t i = 0; i < count; ++i) {
      METALLIC_ASSIGN(MetadataArray array, read_array(depth + 1));
      arrays.push_back(std::make_shared<const MetadataArray>(std::move(array)));
    }
    return MetadataArray::of_arrays(std::move(arrays));
  }

  Status check_bools(uint64_t count) const {
    const std::byte* begin = cursor_.here();
    const std::byte* bad = std::find_if(begin, begin + count, [](std::byte byte) { return uint8_t(byte) > 1; });
    if (bad == begin + count) return {};
    return cursor_.corrupt_at(cursor_.offset() + uint64_t(bad - begin),
                              "a bool is the byte {}, only 0 and 1 are allowed; the file is damaged", int(*bad));
  }

  Cursor& cursor_;
  uint64_t strings_ = 0;
  uint64_t nested_arrays_ = 0;
};

}  // namespace

Result<std::vector<MetadataEntry>> parse_metadata(Cursor& cursor, uint64_t count) {
  const uint64_t least = cursor.count_bytes() + 1 + sizeof(uint32_t) + 1;  // a key of one byte, a type, a bool
  if (count > cursor.remaining() / least)
    return cursor.corrupt_at(
        cursor.offset(),
        "the header counts {} metadata keys, but only {} bytes follow; the file is truncated or damaged", count,
        cursor.remaining());
  std::vector<MetadataEntry> entries;
  MetadataParser parser(cursor);
  for (uint64_t i = 0; i < count; ++i) {
    METALLIC_ASSIGN(MetadataEntry entry, parser.read_entry());
    entries.push_back(std::move(entry));
  }
  cursor.leave();
  if (const auto twice = index_names(entries, &MetadataEntry::key).duplicate()) {
    const std::string_view key = entries[twice->second].key;
    return cursor.corrupt_at(cursor.offset_of(key), "the key '{}' appears twice, first at byte {}; the file is damaged",
                             printable(key), cursor.offset_of(entries[twice->first].key));
  }
  return entries;
}

}  // namespace metallic
