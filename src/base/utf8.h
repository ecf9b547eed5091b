// UTF-8: decoding one code point at a time, validation, and the boundary at which a stream of bytes may be cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace metallic {

inline constexpr uint32_t kInvalidCodePoint = 0xffffffff;

struct DecodedCodePoint {
  uint32_t code_point;  // kInvalidCodePoint where the bytes are not well-formed UTF-8
  int length;           // bytes consumed, at least 1
};

// Decodes the code point at the start of `text`, which must not be empty. Overlong forms, surrogates and values above
// U+10FFFF are invalid (Unicode 15, table 3-7); an invalid sequence consumes its maximal well-formed prefix, as in
// "substitution of maximal subparts".
DecodedCodePoint decode_utf8(std::string_view text);

// Appends the UTF-8 form of a code point (at most U+10FFFF).
void append_utf8(std::string& out, uint32_t code_point);

// The byte offset of the first ill-formed sequence, or npos if all of `text` is well-formed.
size_t find_invalid_utf8(std::string_view text);

// The length of the longest prefix of `text` that does not end inside a code point that further bytes could complete.
size_t complete_utf8_prefix(std::string_view text);

// A copy in which every ill-formed sequence is replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

}  // namespace metallic
