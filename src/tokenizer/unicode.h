// What the pre-tokenisers need to know of Unicode 16.0: one byte of class bits for each code point.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace metallic {

// The bits of a class. A code point has at most one of the first five, its general category; kSpace is the property
// White_Space.
enum CharClass : uint8_t {
  kLetter = 1,       // \p{L}
  kNumber = 2,       // \p{N}
  kMark = 4,         // \p{M}
  kPunctuation = 8,  // \p{P}
  kSymbol = 16,      // \p{S}
  kSpace = 32,       // \s
  kUpper = 64,       // \p{Lu} or \p{Lt}
  kLower = 128,      // \p{Ll}
};

// Two levels: the block of 128 code points, and within it.
struct UnicodeTable {
  static constexpr int kBlock = 128;
  std::array<uint16_t, 0x110000 / kBlock> block;  // index of the code point's block in `classes`
  std::array<std::array<uint8_t, kBlock>, 320> classes;

  uint8_t at(uint32_t code_point) const { return classes[block[code_point / kBlock]][code_point % kBlock]; }
};

// Each entry is where a range begins << 8 | its class bits; it ends where the next begins.
std::unique_ptr<UnicodeTable> expand_class_ranges(std::span<const uint32_t> ranges);

// Built on first use (about 0.1 ms).
const UnicodeTable& unicode_table();

// A code point of text that is known to be well-formed UTF-8.
struct Char {
  uint32_t code_point = 0;
  uint8_t classes = 0;  // CharClass bits; none at the end of the text
  uint8_t length = 0;   // in bytes; 0 at the end of the text

  bool is(int bits) const { return (classes & bits) != 0; }
};

// Decodes without checking: p < end, and [p, end) is well-formed UTF-8.
inline Char read_char(const UnicodeTable& table, const char* p) {
  const auto byte = [p](int i) { return uint32_t(uint8_t(p[i])); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, table.classes[0][first], 1};
  if (first < 0xe0) {
    const uint32_t code_point = (first & 0x1f) << 6 | (byte(1) & 0x3f);
    return {code_point, table.at(code_point), 2};
  }
  if (first < 0xf0) {
    const uint32_t code_point = (first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    return {code_point, table.at(code_point), 3};
  }
  const uint32_t code_point = (first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  return {code_point, table.at(code_point), 4};
}

// The same, with an empty Char at `end`.
inline Char peek_char(const UnicodeTable& table, const char* p, const char* end) {
  return p < end ? read_char(table, p) : Char{};
}

}  // namespace metallic
