// The GGUF reader on any bytes: whatever the header claims, all that it hands out lies inside the file.
#include <cstdint>
#include <span>

#include "gguf/parse_header.h"

namespace {

volatile size_t sink;

void touch(std::string_view text) {
  for (const char c : text) sink = sink + size_t(uint8_t(c));
}

void read_value(const metallic::MetadataValue& value) {
  if (const auto text = value.as_string()) touch(*text);
  value.as_signed(), value.as_unsigned(), value.as_number(), value.as_bool();
  const metallic::MetadataArray* array = value.as_array();
  if (array == nullptr) return;
  for (size_t i = 0; i < array->size(); ++i) read_value(array->at(i));
  if (const auto strings = array->strings())
    for (const std::string_view text : *strings) touch(text);
  if (const auto numbers = array->numbers()) sink = sink + numbers->size();
  if (const auto integers = array->integers()) sink = sink + integers->size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const auto header = metallic::parse_gguf_header("fuzz", file, 0);
  if (!header) {
    if (header.error().message.empty()) __builtin_trap();
    return 0;
  }
  for (const metallic::MetadataEntry& entry : header->metadata) {
    touch(entry.key);
    read_value(entry.value);
  }
  for (const metallic::TensorInfo& tensor : header->tensors) {
    touch(tensor.name);
    for (const std::byte byte : file.subspan(tensor.offset, tensor.bytes)) sink = sink + size_t(byte);
  }
  return 0;
}
