#include "gguf/encode_metadata.h"

#include <limits>

#include "base/error.h"
#include "gguf/metadata_type.h"

namespace metallic {
namespace {

// Appends `value` as a T; false if it is absent or out of range.
template <class T, class Wide>
bool append_as(std::string& out, std::optional<Wide> value) {
  if (!value) return false;
  if (*value < Wide(std::numeric_limits<T>::lowest()) || *value > Wide(std::numeric_limits<T>::max())) return false;
  append_number(out, T(*value));
  return true;
}

bool append_float(std::string& out, MetadataType type, std::optional<double> value) {
  if (!value) return false;
  if (type == MetadataType::kFloat64)
    append_number(out, *value);
  else
    append_number(out, float(*value));
  return true;
}

bool append_scalar(std::string& out, const MetadataValue& value) {
  switch (value.type()) {
    case MetadataType::kUint8:
      return append_as<uint8_t>(out, value.as_unsigned());
    case MetadataType::kInt8:
      return append_as<int8_t>(out, value.as_signed());
    case MetadataType::kUint16:
      return append_as<uint16_t>(out, value.as_unsigned());
    case MetadataType::kInt16:
      return append_as<int16_t>(out, value.as_signed());
    case MetadataType::kUint32:
      return append_as<uint32_t>(out, value.as_unsigned());
    case MetadataType::kInt32:
      return append_as<int32_t>(out, value.as_signed());
    case MetadataType::kUint64:
      return append_as<uint64_t>(out, value.as_unsigned());
    case MetadataType::kInt64:
      return append_as<int64_t>(out, value.as_signed());
    case MetadataType::kFloat32:
    case MetadataType::kFloat64:
      return append_float(out, value.type(), value.as_number());
    case MetadataType::kBool:
      if (value.as_bool()) out += char(*value.as_bool());
      return value.as_bool().has_value();
    case MetadataType::kString:
      if (value.as_string()) append_string(out, *value.as_string());
      return value.as_string().has_value();
    case MetadataType::kArray:
      break;
  }
  return false;
}

void append_array(std::string& out, const MetadataArray& array) {
  append_number(out, uint32_t(array.element_type()));
  append_number(out, uint64_t(array.size()));
  const std::span<const std::byte> numbers = array.number_bytes();
  out.append(reinterpret_cast<const char*>(numbers.data()), numbers.size());
  if (const auto strings = array.strings())
    for (const std::string_view text : *strings) append_string(out, text);
  if (array.element_type() == MetadataType::kArray)
    for (size_t i = 0; i < array.size(); ++i) append_array(out, *array.at(i).as_array());
}

}  // namespace

void append_string(std::string& out, std::string_view text) {
  append_number(out, uint64_t(text.size()));
  out += text;
}

Result<std::string> encode_metadata(const MetadataValue& value) {
  std::string out;
  append_number(out, uint32_t(value.type()));
  if (value.type() == MetadataType::kArray && value.as_array() != nullptr) {
    append_array(out, *value.as_array());
    return out;
  }
  if (append_scalar(out, value)) return out;
  return fail(ErrorCode::kInvalidArgument, "the value does not fit its type {}", metadata_type_name(value.type()));
}

}  // namespace metallic
