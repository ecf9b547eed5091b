// Typed access to a JSON object of a file, with errors that name the file and the key.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"

namespace metallic::convert {

// A view with shared ownership of the document: cheap to copy, immutable. A key whose value is null counts as absent.
// Where several keys are given they are names for one thing and the first that is present counts.
class JsonObject {
 public:
  using Keys = std::initializer_list<std::string_view>;

  // kNotFound, kIo, or kCorrupt if the file is no JSON object or nested too deep.
  static Result<JsonObject> open(const std::string& path);
  static Result<JsonObject> parse(const std::string& path, std::string_view text);

  const std::string& path() const { return path_; }
  const nlohmann::json& json() const { return *json_; }
  // This object with the members of `over` in front of its own.
  JsonObject overlaid_with(const JsonObject& over) const;

  bool has(Keys keys) const { return find(keys).value != nullptr; }

  // kNotFound if no key is there, kCorrupt if the value has another type.
  Result<int64_t> integer(Keys keys) const;
  Result<int64_t> size(Keys keys) const;   // 1 to 2^31 - 1
  Result<double> number(Keys keys) const;  // finite
  Result<std::string> text(Keys keys) const;
  Result<std::vector<double>> numbers(Keys keys) const;
  Result<std::vector<std::string>> texts(Keys keys) const;
  Result<JsonObject> object(Keys keys) const;

  // `fallback` if no key is there; still kCorrupt if the value has another type.
  Result<int64_t> integer_or(Keys keys, int64_t fallback) const;
  Result<int64_t> size_or(Keys keys, int64_t fallback) const;
  Result<double> number_or(Keys keys, double fallback) const;
  Result<bool> flag_or(Keys keys, bool fallback) const;
  Result<std::string> text_or(Keys keys, std::string_view fallback) const;

 private:
  struct Found {
    std::string_view key;
    const nlohmann::json* value = nullptr;
  };

  JsonObject(std::string path, std::string where, std::shared_ptr<const nlohmann::json> json)
      : path_(std::move(path)), where_(std::move(where)), json_(std::move(json)) {}

  Found find(Keys keys) const;
  Result<Found> require(Keys keys) const;
  tl::unexpected<Error> wrong_type(const Found& found, const char* expected) const;

  std::string path_, where_;  // where_: the keys that lead to this object, "rope_scaling."
  std::shared_ptr<const nlohmann::json> json_;
};

}  // namespace metallic::convert
