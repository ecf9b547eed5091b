// Metadata values: what a stored value can be read as without loss.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "gguf/metadata_type.h"

namespace metallic {
namespace {

template <class T>
T load(const std::byte* bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

// Calls visit(T()) with the C++ type of a number type of the file.
template <class Visit>
auto with_number_type(MetadataType type, Visit visit) {
  switch (type) {
    case MetadataType::kUint8:
      return visit(uint8_t());
    case MetadataType::kInt8:
      return visit(int8_t());
    case MetadataType::kUint16:
      return visit(uint16_t());
    case MetadataType::kInt16:
      return visit(int16_t());
    case MetadataType::kUint32:
      return visit(uint32_t());
    case MetadataType::kInt32:
      return visit(int32_t());
    case MetadataType::kFloat32:
      return visit(float());
    case MetadataType::kBool:
      return visit(bool());
    case MetadataType::kUint64:
      return visit(uint64_t());
    case MetadataType::kInt64:
      return visit(int64_t());
    case MetadataType::kFloat64:
      return visit(double());
    case MetadataType::kString:
    case MetadataType::kArray:
      break;
  }
  METALLIC_CHECK(false && "not a number type");
  return visit(uint8_t());
}

template <class T>
MetadataValue::Storage stored(T value) {
  if constexpr (std::is_same_v<T, bool>)
    return value;
  else if constexpr (std::is_floating_point_v<T>)
    return double(value);
  else if constexpr (std::is_signed_v<T>)
    return int64_t(value);
  else
    return uint64_t(value);
}

MetadataValue::Storage load_number(MetadataType type, const std::byte* bytes, size_t index) {
  if (type == MetadataType::kBool) return load<uint8_t>(bytes, index) != 0;
  return with_number_type(type, [&](auto zero) { return stored(load<decltype(zero)>(bytes, index)); });
}

template <class Integer>
std::optional<double> exact_double(Integer value) {
  const double number = double(value);
  // The first bound only rejects what was rounded up to 2^64 or 2^63, which would not fit when cast back.
  if (number >= std::ldexp(1.0, std::numeric_limits<Integer>::digits) || Integer(number) != value) return std::nullopt;
  return number;
}

// All elements through MetadataValue's own conversion, or none if one does not fit.
template <class T, class Convert>
std::optional<std::vector<T>> convert_all(const MetadataArray& array, Convert convert) {
  std::vector<T> values;
  values.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const std::optional<T> value = convert(array.at(i));
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

}  // namespace

const char* metadata_type_name(MetadataType type) {
  switch (type) {
    case MetadataType::kUint8:
      return "uint8";
    case MetadataType::kInt8:
      return "int8";
    case MetadataType::kUint16:
      return "uint16";
    case MetadataType::kInt16:
      return "int16";
    case MetadataType::kUint32:
      return "uint32";
    case MetadataType::kInt32:
      return "int32";
    case MetadataType::kFloat32:
      return "float32";
    case MetadataType::kBool:
      return "bool";
    case MetadataType::kString:
      return "string";
    case MetadataType::kArray:
      return "array";
    case MetadataType::kUint64:
      return "uint64";
    case MetadataType::kInt64:
      return "int64";
    case MetadataType::kFloat64:
      return "float64";
  }
  return "unknown";
}

size_t metadata_number_bytes(MetadataType type) {
  if (type == MetadataType::kString || type == MetadataType::kArray) return 0;
  return with_number_type(type, [](auto zero) { return sizeof(zero); });
}

MetadataValue load_metadata_number(MetadataType type, const std::byte* bytes) {
  return MetadataValue(type, load_number(type, bytes, 0));
}

std::optional<uint64_t> MetadataValue::as_unsigned() const {
  if (const auto* value = std::get_if<uint64_t>(&storage_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&storage_); value != nullptr && *value >= 0) return uint64_t(*value);
  return std::nullopt;
}

std::optional<int64_t> MetadataValue::as_signed() const {
  if (const auto* value = std::get_if<int64_t>(&storage_)) return *value;
  const auto* value = std::get_if<uint64_t>(&storage_);
  if (value != nullptr && *value <= uint64_t(std::numeric_limits<int64_t>::max())) return int64_t(*value);
  return std::nullopt;
}

std::optional<double> MetadataValue::as_number() const {
  if (const auto* value = std::get_if<double>(&storage_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&storage_)) return exact_double(*value);
  if (const auto* value = std::get_if<uint64_t>(&storage_)) return exact_double(*value);
  return std::nullopt;
}

std::optional<bool> MetadataValue::as_bool() const {
  if (const auto* value = std::get_if<bool>(&storage_)) return *value;
  return std::nullopt;
}

std::optional<std::string_view> MetadataValue::as_string() const {
  if (const auto* value = std::get_if<std::string_view>(&storage_)) return *value;
  return std::nullopt;
}

const MetadataArray* MetadataValue::as_array() const {
  const auto* value = std::get_if<std::shared_ptr<const MetadataArray>>(&storage_);
  return value != nullptr ? value->get() : nullptr;
}

MetadataArray MetadataArray::of_numbers(MetadataType type, const std::byte* bytes, size_t count) {
  METALLIC_CHECK(metadata_number_bytes(type) != 0);
  MetadataArray array;
  array.type_ = type;
  array.size_ = count;
  array.bytes_ = bytes;
  return array;
}

MetadataArray MetadataArray::of_strings(std::vector<std::string_view> strings) {
  MetadataArray array;
  array.type_ = MetadataType::kString;
  array.size_ = strings.size();
  array.strings_ = std::move(strings);
  return array;
}

MetadataArray MetadataArray::of_arrays(std::vector<std::shared_ptr<const MetadataArray>> arrays) {
  MetadataArray array;
  array.type_ = MetadataType::kArray;
  array.size_ = arrays.size();
  array.arrays_ = std::move(arrays);
  return array;
}

MetadataValue MetadataArray::at(size_t index) const {
  METALLIC_CHECK(index < size_);
  if (type_ == MetadataType::kString) return MetadataValue(type_, strings_[index]);
  if (type_ == MetadataType::kArray) return MetadataValue(type_, arrays_[index]);
  return MetadataValue(type_, load_number(type_, bytes_, index));
}

std::optional<std::span<const std::string_view>> MetadataArray::strings() const {
  if (type_ != MetadataType::kString) return std::nullopt;
  return std::span<const std::string_view>(strings_);
}

std::optional<std::vector<int64_t>> MetadataArray::integers() const {
  return is_integer_type(type_)
             ? convert_all<int64_t>(*this, [](const MetadataValue& value) { return value.as_signed(); })
             : std::nullopt;
}

std::optional<std::vector<double>> MetadataArray::numbers() const {
  return is_integer_type(type_) || is_float_type(type_)
             ? convert_all<double>(*this, [](const MetadataValue& value) { return value.as_number(); })
             : std::nullopt;
}

std::span<const std::byte> MetadataArray::number_bytes() const {
  return {bytes_, size_ * metadata_number_bytes(type_)};
}

}  // namespace metallic
