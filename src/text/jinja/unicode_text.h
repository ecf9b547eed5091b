// What Python's str knows of code points: classes, case. The tables are asked of Python (tools/make-text-tables.py).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metallic::jinja {

enum class CharacterClass {
  kAlpha,
  kDecimal,
  kDigit,
  kNumeric,
  kLower,
  kUpper,
  kTitle,
  kPrintable,
  kIdentifierStart,
  kIdentifierContinue,
  kCased,
  kCaseIgnorable,
};

bool is_class(uint32_t code_point, CharacterClass wanted);
bool is_space(uint32_t code_point);       // str.isspace, and \s of Python's re
bool is_line_break(uint32_t code_point);  // where str.splitlines splits
bool is_word(uint32_t code_point);        // \w of Python's re

// Full case mapping: one code point may become three, and a final sigma is a final sigma.
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
std::string to_title(std::string_view text);        // str.title
std::string to_capitalized(std::string_view text);  // str.capitalize
std::string swap_case(std::string_view text);
std::string fold_case(std::string_view text);

bool is_identifier(std::string_view text);

// The code point at the start of `text` (not empty, valid UTF-8), which it removes.
uint32_t take_code_point(std::string_view& text);
std::u32string to_code_points(std::string_view utf8);

}  // namespace metallic::jinja
