#include "convert/json_object.h"

#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace metallic::convert {
namespace {

constexpr int kMaxDepth = 64;

// The depth of brackets outside strings: the parser and what it builds should not meet a document that is all nesting.
int nesting(std::string_view text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Result<JsonObject> JsonObject::open(const std::string& path) {
  METALLIC_ASSIGN(const MappedFile file, MappedFile::open(path));
  return parse(path, {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

Result<JsonObject> JsonObject::parse(const std::string& path, std::string_view text) {
  if (nesting(text) > kMaxDepth)
    return fail(ErrorCode::kCorrupt, "{}: JSON nested deeper than {} levels", path, kMaxDepth);
  try {
    auto json = std::make_shared<nlohmann::json>(nlohmann::json::parse(text));
    if (!json->is_object()) return fail(ErrorCode::kCorrupt, "{}: must hold a JSON object", path);
    return JsonObject(path, "", std::move(json));
  } catch (const nlohmann::json::parse_error& error) {
    return fail(ErrorCode::kCorrupt, "{}: no valid JSON at byte {}", path, error.byte);
  } catch (const nlohmann::json::out_of_range&) {
    return fail(ErrorCode::kCorrupt, "{}: holds a number beyond those of 64-bit floating point", path);
  }
}

JsonObject JsonObject::overlaid_with(const JsonObject& over) const {
  auto merged = std::make_shared<nlohmann::json>(*json_);
  merged->update(*over.json_);
  return JsonObject(path_, where_, std::move(merged));
}

JsonObject::Found JsonObject::find(Keys keys) const {
  for (const std::string_view key : keys) {
    const auto found = json_->find(key);
    if (found != json_->end() && !found->is_null()) return {key, &*found};
  }
  return {};
}

Result<JsonObject::Found> JsonObject::require(Keys keys) const {
  const Found found = find(keys);
  if (found.value != nullptr) return found;
  return fail(ErrorCode::kNotFound, "{}: the key {}{} is missing", path_, where_, fmt::join(keys, " or "));
}

tl::unexpected<Error> JsonObject::wrong_type(const Found& found, const char* expected) const {
  const std::string text = found.value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return fail(ErrorCode::kCorrupt, "{}: {}{} is {}; {} is needed", path_, where_, found.key, printable(text, 40),
              expected);
}

Result<int64_t> JsonObject::integer(Keys keys) const {
  METALLIC_ASSIGN(const Found found, require(keys));
  const nlohmann::json& value = *found.value;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX))
    return wrong_type(found, "an integer of 64 bits");
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()) &&
      std::abs(value.get<double>()) < 0x1p53)
    return int64_t(value.get<double>());
  return wrong_type(found, "an integer");
}

Result<int64_t> JsonObject::size(Keys keys) const {
  METALLIC_ASSIGN(const int64_t value, integer(keys));
  if (value < 1 || value > INT32_MAX) return wrong_type(find(keys), "a number from 1 to 2147483647");
  return value;
}

Result<double> JsonObject::number(Keys keys) const {
  METALLIC_ASSIGN(const Found found, require(keys));
  if (!found.value->is_number() || !std::isfinite(found.value->get<double>())) return wrong_type(found, "a number");
  return found.value->get<double>();
}

Result<std::string> JsonObject::text(Keys keys) const {
  METALLIC_ASSIGN(const Found found, require(keys));
  if (!found.value->is_string()) return wrong_type(found, "a string");
  return found.value->get<std::string>();
}

Result<std::vector<double>> JsonObject::numbers(Keys keys) const {
  METALLIC_ASSIGN(const Found found, require(keys));
  if (!found.value->is_array()) return wrong_type(found, "an array of numbers");
  std::vector<double> values;
  for (const nlohmann::json& value : *found.value) {
    if (!value.is_number() && !value.is_boolean()) return wrong_type(found, "an array of numbers");
    values.push_back(value.is_boolean() ? double(value.get<bool>()) : value.get<double>());
  }
  return values;
}

Result<std::vector<std::string>> JsonObject::texts(Keys keys) const {
  METALLIC_ASSIGN(const Found found, require(keys));
  if (!found.value->is_array()) return wrong_type(found, "an array of strings");
  std::vector<std::string> values;
  for (const nlohmann::json& value : *found.value) {
    if (!value.is_string()) return wrong_type(found, "an array of strings");
    values.push_back(value.get<std::string>());
  }
  return values;
}

Result<JsonObject> JsonObject::object(Keys keys) const {
  METALLIC_ASSIGN(const Found found, require(keys));
  if (!found.value->is_object()) return wrong_type(found, "an object");
  return JsonObject(path_, where_ + std::string(found.key) + ".", {json_, found.value});
}

Result<int64_t> JsonObject::integer_or(Keys keys, int64_t fallback) const {
  return has(keys) ? integer(keys) : Result<int64_t>(fallback);
}
Result<int64_t> JsonObject::size_or(Keys keys, int64_t fallback) const {
  return has(keys) ? size(keys) : Result<int64_t>(fallback);
}
Result<double> JsonObject::number_or(Keys keys, double fallback) const {
  return has(keys) ? number(keys) : Result<double>(fallback);
}
Result<bool> JsonObject::flag_or(Keys keys, bool fallback) const {
  const Found found = find(keys);
  if (found.value == nullptr) return fallback;
  if (!found.value->is_boolean()) return wrong_type(found, "true or false");
  return found.value->get<bool>();
}
Result<std::string> JsonObject::text_or(Keys keys, std::string_view fallback) const {
  return has(keys) ? text(keys) : Result<std::string>(std::string(fallback));
}

}  // namespace metallic::convert
