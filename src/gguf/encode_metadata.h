// Metadata values as the bytes of a GGUF v3 file: the reverse of parse_metadata.h.
#pragma once

#include <string>

#include "metallic/gguf.h"

namespace metallic {

// Appends the little-endian bytes of a number, or of a length and text.
template <class T>
void append_number(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}
void append_string(std::string& out, std::string_view text);

// The type id and the value. kInvalidArgument if the value does not fit its type, for example 300 in a uint8.
Result<std::string> encode_metadata(const MetadataValue& value);

}  // namespace metallic
