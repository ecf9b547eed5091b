#include "text/jinja/number_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/jinja/unicode_text.h"

namespace metallic::jinja {
namespace {

std::string_view strip_spaces(std::string_view text) {
  while (!text.empty()) {
    std::string_view rest = text;
    if (!is_space(take_code_point(rest))) break;
    text = rest;
  }
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (uint8_t(text[last]) & 0xc0) == 0x80) --last;
    std::string_view tail = text.substr(last);
    if (!is_space(take_code_point(tail))) break;
    text = text.substr(0, last);
  }
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }

int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

// Removes 0x, 0o or 0b where it agrees with `base`, and settles base 0. False for what Python refuses ("012" with 0).
bool take_base_prefix(std::string_view& text, int& base) {
  const char letter = text.size() > 1 && text[0] == '0' ? lower(text[1]) : ' ';
  const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (named != 0 && (base == 0 || base == named)) {
    base = named;
    text.remove_prefix(2);
    if (!text.empty() && text[0] == '_') text.remove_prefix(1);
  } else if (base == 0) {
    base = 10;
    const bool zero = std::all_of(text.begin(), text.end(), [](char c) { return c == '0' || c == '_'; });
    if (text.size() > 1 && text[0] == '0' && !zero) return false;
  }
  return true;
}

// Skips digits with single underscores between them; copies the digits. False where an underscore stands alone.
bool copy_digits(std::string_view& text, std::string& out) {
  bool after_digit = false;
  while (!text.empty() && (is_digit(text[0]) || text[0] == '_')) {
    if (text[0] == '_') {
      if (!after_digit || text.size() < 2 || !is_digit(text[1])) return false;
      after_digit = false;
    } else {
      out += text[0];
      after_digit = true;
    }
    text.remove_prefix(1);
  }
  return true;
}

}  // namespace

std::string integer_text(Integer value, int base, bool upper) {
  __extension__ typedef unsigned __int128 Magnitude;
  Magnitude rest = value < 0 ? Magnitude(0) - Magnitude(value) : Magnitude(value);
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out += digits[size_t(rest % Magnitude(base))];
    rest /= Magnitude(base);
  } while (rest != 0);
  if (value < 0) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

ShortestDigits shortest_digits(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, size_t(end - buffer));
  const size_t e = text.find('e');
  ShortestDigits out{std::string(text.substr(0, 1)), std::atoi(std::string(text.substr(e + 1)).c_str())};
  if (e > 2) out.digits += text.substr(2, e - 2);
  return out;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  auto [digits, exponent] = shortest_digits(std::abs(value));
  std::string out = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (digits.size() > 1) out.append(".").append(digits, 1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out.append("0.").append(size_t(-exponent - 1), '0').append(digits);
  const size_t whole = size_t(exponent) + 1;
  if (digits.size() <= whole) return out.append(digits).append(whole - digits.size(), '0').append(".0");
  return out.append(digits, 0, whole).append(".").append(digits, whole);
}

std::optional<Integer> parse_integer(std::string_view text, int base) {
  text = strip_spaces(text);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (!take_base_prefix(text, base) || text.empty()) return std::nullopt;
  Integer value = 0;
  bool after_digit = false;
  for (const char c : text) {
    if (c == '_' && after_digit) {
      after_digit = false;
      continue;
    }
    const int digit = digit_value(c);
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, Integer(base), &value)) return std::nullopt;
    if (__builtin_add_overflow(value, Integer(digit), &value)) return std::nullopt;
    after_digit = true;
  }
  if (!after_digit) return std::nullopt;
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip_spaces(text);
  std::string clean;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    clean += text[0];
    text.remove_prefix(1);
  }
  std::string word;
  for (const char c : text) word += lower(c);
  if (word == "inf" || word == "infinity" || word == "nan") return std::strtod((clean + word).c_str(), nullptr);
  const size_t sign = clean.size();
  if (!copy_digits(text, clean)) return std::nullopt;
  bool any = clean.size() > sign;
  if (!text.empty() && text[0] == '.') {
    clean += '.';
    text.remove_prefix(1);
    const size_t before = clean.size();
    if (!copy_digits(text, clean)) return std::nullopt;
    any = any || clean.size() > before;
  }
  if (!any) return std::nullopt;
  if (!text.empty() && lower(text[0]) == 'e') {
    clean += 'e';
    text.remove_prefix(1);
    if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
      clean += text[0];
      text.remove_prefix(1);
    }
    const size_t before = clean.size();
    if (!copy_digits(text, clean) || clean.size() == before) return std::nullopt;
  }
  if (!text.empty()) return std::nullopt;
  return std::strtod(clean.c_str(), nullptr);
}

std::optional<Integer> truncate_to_integer(double number) {
  if (!(std::abs(number) < 0x1p126)) return std::nullopt;
  return Integer(number);
}

}  // namespace metallic::jinja
