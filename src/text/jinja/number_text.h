// Numbers to text and back, as Python's repr(), int() and float().
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace metallic::jinja {

std::string integer_text(Integer value, int base = 10, bool upper = false);  // base 2 to 16, no prefix
std::string float_text(double value);                                        // repr(): the shortest that reads back

// int(text, base): white space around, a sign, underscores between digits, 0x and the like where the base is 0 or
// fits. Nothing if it is no integer (or one beyond Integer).
std::optional<Integer> parse_integer(std::string_view text, int base = 10);
// float(text): also inf, infinity and nan.
std::optional<double> parse_float(std::string_view text);
// int(number): towards zero. Nothing for infinities, NaN and what is beyond Integer.
std::optional<Integer> truncate_to_integer(double number);

// The decimal digits of `value` and the power of ten of the first: 123.4 is {"1234", 2}. `value` is finite and not
// negative; digits are the shortest that read back.
struct ShortestDigits {
  std::string digits;
  int exponent;
};
ShortestDigits shortest_digits(double value);

}  // namespace metallic::jinja
