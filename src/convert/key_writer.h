// Sets metadata keys of one architecture: "llama." + key.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "metallic/gguf.h"

namespace metallic::convert {

class KeyWriter {
 public:
  KeyWriter(GgufWriter& writer, std::string_view arch) : writer_(writer), prefix_(std::string(arch) + ".") {}

  void size(std::string_view key, int64_t value) { writer_.set_unsigned(name(key), uint32_t(value)); }
  void number(std::string_view key, double value) {
    if (std::abs(value) <= double(std::numeric_limits<float>::max())) return writer_.set_float(name(key), float(value));
    if (status_)
      status_ = fail(ErrorCode::kCorrupt, "{} would be {}, which 32-bit floats cannot hold", name(key), value);
  }
  void numbers(std::string_view key, const std::vector<float>& values) { writer_.set_floats(name(key), values); }
  // The first number that a file cannot hold.
  const Status& status() const { return status_; }

  void flag(std::string_view key, bool value) { writer_.set_bool(name(key), value); }
  void text(std::string_view key, std::string_view value) { writer_.set_string(name(key), value); }
  void flags(std::string_view key, const std::vector<bool>& values) {
    const std::vector<uint8_t> bytes(values.begin(), values.end());
    const auto array =
        MetadataArray::of_numbers(MetadataType::kBool, std::as_bytes(std::span(bytes)).data(), bytes.size());
    writer_.set(name(key), MetadataType::kArray, std::make_shared<const MetadataArray>(array));
  }

 private:
  std::string name(std::string_view key) const { return prefix_ + std::string(key); }

  GgufWriter& writer_;
  std::string prefix_;
  Status status_;
};

}  // namespace metallic::convert
