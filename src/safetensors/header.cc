// The JSON is read event by event: nothing is built that the format does not know, so depth and size stay bounded, and
// a name that comes twice is seen.
#include "safetensors/header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/printable.h"

namespace metallic {
namespace {

constexpr size_t kMaxRank = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

// A tensor's entry while it is read.
struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape, offsets;
};

// nlohmann's SAX interface. Every function gives false after the first error, which ends the parse.
class HeaderReader {
 public:
  using number_integer_t = int64_t;
  using number_unsigned_t = uint64_t;
  using number_float_t = double;
  using string_t = std::string;
  using binary_t = std::vector<uint8_t>;

  std::vector<Entry> entries;
  Status status;

  bool start_object(size_t) {
    switch (place_) {
      case Place::kStart:
        return go(Place::kNames);
      case Place::kEntry:
        if (name_ == kMetadataKey) return go(Place::kMetadata);
        entries.push_back({name_, {}, {}, {}});
        return go(Place::kFields);
      default:
        return unexpected("an object");
    }
  }
  bool end_object() {
    if (place_ == Place::kNames) return go(Place::kEnd);
    if (place_ == Place::kFields) {
      const Entry& entry = entries.back();
      for (const auto& [present, field] : {std::pair(entry.dtype.has_value(), "dtype"),
                                           {entry.shape.has_value(), "shape"},
                                           {entry.offsets.has_value(), "data_offsets"}})
        if (!present) return reject(fmt::format("tensor '{}' has no {}", printable(name_), field));
    }
    return go(Place::kNames);
  }
  bool key(std::string& text) {
    if (place_ == Place::kMetadata) return go(Place::kMetadataValue);
    if (place_ == Place::kNames) {
      name_ = text;
      if (!names_.insert(text).second) return reject(fmt::format("the name '{}' appears twice", printable(text)));
      return go(Place::kEntry);
    }
    field_ = text;
    const Entry& entry = entries.back();
    if (text == "dtype" && !entry.dtype) return go(Place::kDtype);
    if (text == "shape" && !entry.shape) return go(Place::kShape);
    if (text == "data_offsets" && !entry.offsets) return go(Place::kOffsets);
    return reject(fmt::format("tensor '{}' has the field '{}' {}", printable(name_), printable(text),
                              text == "dtype" || text == "shape" || text == "data_offsets"
                                  ? "twice"
                                  : "; only dtype, shape and data_offsets are known"));
  }
  bool start_array(size_t) {
    if (place_ == Place::kShape) return begin_list(entries.back().shape, Place::kShapeSizes);
    if (place_ == Place::kOffsets) return begin_list(entries.back().offsets, Place::kOffsetNumbers);
    return unexpected("an array");
  }
  bool end_array() { return go(Place::kFields); }
  bool number_unsigned(uint64_t value) {
    if (place_ != Place::kShapeSizes && place_ != Place::kOffsetNumbers) return unexpected("a number");
    const size_t limit = place_ == Place::kShapeSizes ? kMaxRank : 2;
    if (list_->size() == limit)
      return reject(fmt::format("tensor '{}' has more than {} numbers in {}", printable(name_), limit, field_));
    list_->push_back(value);
    return true;
  }
  bool string(std::string& text) {
    if (place_ == Place::kMetadataValue) return go(Place::kMetadata);
    if (place_ != Place::kDtype) return unexpected("a string");
    entries.back().dtype = text;
    return go(Place::kFields);
  }
  bool number_integer(int64_t) { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) { return unexpected("a number that is no integer of 64 bits"); }
  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a boolean"); }
  bool binary(binary_t&) { return unexpected("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return reject(fmt::format("the header is no valid JSON at its byte {}", position));
  }

 private:
  enum class Place {
    kStart,
    kNames,
    kEntry,
    kMetadata,
    kMetadataValue,
    kFields,
    kDtype,
    kShape,
    kShapeSizes,
    kOffsets,
    kOffsetNumbers,
    kEnd
  };

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool reject(const std::string& message) {
    if (status) status = fail(ErrorCode::kCorrupt, "{}", message);
    return false;
  }
  bool unexpected(const char* what) {
    if (place_ == Place::kStart) return reject(fmt::format("the header is {}; it must be an object", what));
    return reject(fmt::format("the header has {} where '{}'{} is described", what, printable(name_),
                              field_.empty() ? "" : " (" + printable(field_) + ")"));
  }
  bool begin_list(std::optional<std::vector<uint64_t>>& list, Place place) {
    list_ = &list.emplace();
    return go(place);
  }

  Place place_ = Place::kStart;
  std::string name_, field_;
  std::vector<uint64_t>* list_ = nullptr;
  std::unordered_set<std::string> names_;
};

// The bytes that shape and type need; none if they overflow.
std::optional<uint64_t> bytes_of(const SafetensorsTensor& tensor) {
  std::optional<uint64_t> bytes = uint64_t(safetensors_type_info(tensor.type).bytes);
  bool empty = false;
  for (const uint64_t size : tensor.shape) {
    empty = empty || size == 0;
    if (bytes && size != 0) bytes = checked_multiply(*bytes, size);
  }
  return empty && bytes ? std::optional<uint64_t>(0) : bytes;
}

Result<SafetensorsTensor> to_tensor(const Entry& entry, uint64_t data_bytes) {
  const std::string name = printable(entry.name);
  const auto type = safetensors_type_from_name(*entry.dtype);
  if (!type) {
    std::string known;
    for (const SafetensorsTypeInfo& info : all_safetensors_types())
      known += (known.empty() ? "" : ", ") + std::string(info.name);
    return fail(ErrorCode::kUnsupported, "tensor '{}' has the dtype '{}'; the known ones are: {}", name,
                printable(*entry.dtype), known);
  }
  if (entry.offsets->size() != 2)
    return fail(ErrorCode::kCorrupt, "tensor '{}' has {} data_offsets; it must have 2", name, entry.offsets->size());
  const uint64_t begin = (*entry.offsets)[0], end = (*entry.offsets)[1];
  if (begin > end || end > data_bytes)
    return fail(ErrorCode::kCorrupt, "tensor '{}' has the data_offsets {} to {}; the file has {} bytes of data", name,
                begin, end, data_bytes);
  SafetensorsTensor tensor{entry.name, *type, *entry.shape, begin, end - begin};
  const std::optional<uint64_t> bytes = bytes_of(tensor);
  if (!bytes || *bytes != tensor.bytes)
    return fail(ErrorCode::kCorrupt, "tensor '{}' of {} [{}] needs {} bytes, its data_offsets give {}", name,
                *entry.dtype, fmt::join(tensor.shape, ", "), bytes ? std::to_string(*bytes) : "more than 2^64",
                tensor.bytes);
  return tensor;
}

// In the order of their bytes the tensors must follow one another from 0 to the end.
Status check_layout(const std::vector<SafetensorsTensor>& tensors, uint64_t data_bytes) {
  uint64_t end = 0;
  std::string_view last = "the header";
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.begin != end)
      return fail(ErrorCode::kCorrupt, "tensor '{}' begins at byte {} of the data, but '{}' ends at {}: {}",
                  printable(tensor.name), tensor.begin, printable(last), end,
                  tensor.begin < end ? "they overlap" : "there is a hole");
    end = tensor.begin + tensor.bytes;
    last = tensor.name;
  }
  if (end != data_bytes)
    return fail(ErrorCode::kCorrupt, "the tensors end at byte {} of the data, the file has {}", end, data_bytes);
  return {};
}

}  // namespace

uint64_t SafetensorsTensor::elements() const { return bytes / uint64_t(safetensors_type_info(type).bytes); }

Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::string_view json, uint64_t data_bytes) {
  HeaderReader reader;
  const bool complete = nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  METALLIC_TRY(reader.status);
  if (!complete) return fail(ErrorCode::kCorrupt, "the header is no valid JSON");
  std::vector<SafetensorsTensor> tensors;
  tensors.reserve(reader.entries.size());
  for (const Entry& entry : reader.entries) {
    METALLIC_ASSIGN(SafetensorsTensor tensor, to_tensor(entry, data_bytes));
    tensors.push_back(std::move(tensor));
  }
  std::ranges::stable_sort(tensors, [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
  });
  METALLIC_TRY(check_layout(tensors, data_bytes));
  return tensors;
}

}  // namespace metallic
