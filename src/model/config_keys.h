// The metadata keys of one architecture: "llama." + key.
#pragma once

#include <cmath>
#include <string>

#include "base/error.h"
#include "metallic/gguf.h"

namespace metallic {

class ConfigKeys {
 public:
  ConfigKeys(const GgufFile& file, std::string_view arch) : file_(file), prefix_(std::string(arch) + ".") {}

  const GgufFile& file() const { return file_; }
  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  const MetadataValue* find(std::string_view key) const { return file_.find(name(key)); }

  // A size: 1 to 2^31 - 1.
  Result<int> size(std::string_view key) const {
    METALLIC_ASSIGN(const uint64_t value, file_.get_unsigned(name(key)));
    return checked_size(key, value);
  }
  Result<int> size_or(std::string_view key, int fallback) const {
    return find(key) == nullptr ? Result<int>(fallback) : size(key);
  }
  // A size that may be 0, which is what it is where the key is absent.
  Result<int> count(std::string_view key) const {
    METALLIC_ASSIGN(const uint64_t value, file_.get_unsigned_or(name(key), 0));
    return value == 0 ? Result<int>(0) : checked_size(key, value);
  }
  // A size that may be given as an array with one value for each layer; they must all be the same here.
  Result<int> uniform_size_or(std::string_view key, int fallback) const;

  // A finite number, and one that is positive as well.
  Result<float> number(std::string_view key, double fallback) const;
  Result<float> positive(std::string_view key, double fallback) const;
  Result<bool> flag(std::string_view key, bool fallback) const { return file_.get_bool_or(name(key), fallback); }

 private:
  Result<int> checked_size(std::string_view key, uint64_t value) const;

  const GgufFile& file_;
  std::string prefix_;
};

}  // namespace metallic
