#include "text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/utf8.h"
#include "text/jinja/number_text.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode_text.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

constexpr int kMaximumPrecision = 1000;
constexpr Integer kMaximumWidth = 1 << 24;

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

Result<std::optional<Integer>> take_number(std::string_view& text, Integer most) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::optional<Integer>();
  Integer number = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    number = number * 10 + (text[0] - '0');
    if (number > most) return refuse("a width or precision of a format above {}", integer_text(most));
    text.remove_prefix(1);
  }
  return std::optional<Integer>(number);
}

void take_fill_and_align(std::string_view& text, FormatSpec& spec) {
  std::string_view rest = text;
  take_code_point(rest);
  if (!rest.empty() && is_align(rest[0])) {
    spec.fill = std::string(text.substr(0, text.size() - rest.size()));
    spec.has_fill = true;
    spec.align = rest[0];
    text = rest.substr(1);
  } else if (is_align(text[0])) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
}

// Lays out sign or prefix and body to the width.
Result<std::string> lay_out(Runtime& runtime, std::string_view prefix, std::string_view body, const FormatSpec& spec,
                            char own_align) {
  const char align = spec.align ? spec.align : own_align;
  const Integer missing =
      std::max<Integer>(0, spec.width - Integer(count_code_points(prefix) + count_code_points(body)));
  const Integer before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  METALLIC_ASSIGN(const std::string left, repeat(runtime, spec.fill, before));
  METALLIC_ASSIGN(const std::string right, repeat(runtime, spec.fill, missing - before));
  METALLIC_TRY(runtime.spend_bytes(left.size() + prefix.size() + body.size() + right.size()));
  if (align == '=') return fmt::format("{}{}{}", prefix, left, body);
  return fmt::format("{}{}{}{}", left, prefix, body, right);
}

// Puts separators into the digits, with leading zeros up to `width` characters.
std::string group_digits(std::string digits, char separator, size_t group, Integer width) {
  const auto grouped_size = [&](size_t count) { return Integer(count + (count - 1) / group); };
  while (!digits.empty() && grouped_size(digits.size()) < width) digits.insert(digits.begin(), '0');
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out;
}

std::string sign_text(bool negative, const FormatSpec& spec) {
  if (negative) return "-";
  return spec.sign == '-' ? "" : std::string(1, spec.sign);
}

// Groups the whole part of `body`, and lays it out.
Result<std::string> finish_number(Runtime& runtime, const std::string& prefix, std::string body, const FormatSpec& spec,
                                  size_t group) {
  if (spec.grouping) {
    const size_t whole = std::min(body.find_first_not_of("0123456789abcdefABCDEF"), body.size());
    const bool zeros = spec.fill == "0" && spec.align == '=';
    const Integer room = spec.width - Integer(prefix.size()) - Integer(body.size() - whole);
    if (zeros) METALLIC_TRY(runtime.spend_bytes(uint64_t(std::max<Integer>(room, 0))));
    body = group_digits(body.substr(0, whole), spec.grouping, group, zeros ? room : 0) + body.substr(whole);
  }
  return lay_out(runtime, prefix, body, spec, '>');
}

std::string printed(const char* format, int precision, double value) {
  char small[64];
  const int size = std::snprintf(small, sizeof small, format, precision, value);
  if (size < int(sizeof small)) return std::string(small, size_t(size));
  std::string large(size_t(size) + 1, '\0');
  std::snprintf(large.data(), large.size(), format, precision, value);
  large.pop_back();
  return large;
}

// The general format of a type that is not given, with a precision: as g, but a float keeps a digit after the point.
std::string general_with_point(double value, int precision) {
  precision = std::max(precision, 1);
  const std::string scientific = printed("%.*e", precision - 1, value);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  if (exponent < -4 || exponent >= precision - 1) {
    const size_t e = scientific.find('e');
    std::string mantissa = scientific.substr(0, e);
    if (mantissa.find('.') != mantissa.npos) {
      mantissa.erase(mantissa.find_last_not_of('0') + 1);
      if (mantissa.back() == '.') mantissa.pop_back();
    }
    return mantissa + scientific.substr(e);
  }
  std::string fixed = printed("%.*f", std::max(precision - 1 - exponent, 1), value);
  const size_t last = fixed.find_last_not_of('0');
  fixed.erase(fixed[last] == '.' ? last + 2 : last + 1);
  return fixed;
}

std::string float_body(double value, const FormatSpec& spec) {
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  if (!std::isfinite(value)) return std::string(std::isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf"));
  const int precision = spec.precision.value_or(6);
  switch (spec.type) {
    case 'e':
      return printed(spec.alternate ? "%#.*e" : "%.*e", precision, value);
    case 'E':
      return printed(spec.alternate ? "%#.*E" : "%.*E", precision, value);
    case 'f':
    case 'F':
      return printed(spec.alternate ? "%#.*f" : "%.*f", precision, value);
    case 'n':
    case 'g':
      return printed(spec.alternate ? "%#.*g" : "%.*g", precision, value);
    case 'G':
      return printed(spec.alternate ? "%#.*G" : "%.*G", precision, value);
    default:
      return spec.precision ? general_with_point(value, precision) : float_text(value);
  }
}

}  // namespace

Result<FormatSpec> parse_format_spec(std::string_view text) {
  const std::string_view whole = text;
  FormatSpec spec;
  if (!text.empty()) take_fill_and_align(text, spec);
  const auto take = [&](char c) {
    if (text.empty() || text[0] != c) return false;
    text.remove_prefix(1);
    return true;
  };
  if (take('+')) {
    spec.sign = '+';
  } else if (take(' ')) {
    spec.sign = ' ';
  } else {
    take('-');
  }
  spec.alternate = take('#');
  if (take('0') && !spec.has_fill) {
    spec.fill = '0';
    if (spec.align == 0) spec.align = '=';
  }
  METALLIC_ASSIGN(const std::optional<Integer> width, take_number(text, kMaximumWidth));
  spec.width = width.value_or(0);
  if (take(',')) spec.grouping = ',';
  if (take('_')) spec.grouping = '_';
  if (take('.')) {
    METALLIC_ASSIGN(const std::optional<Integer> precision, take_number(text, kMaximumPrecision));
    if (!precision) return refuse("the format '{}' has a point without a precision", whole);
    spec.precision = int(*precision);
  }
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty()) return refuse("'{}' is no format specification", whole);
  return spec;
}

Result<std::string> format_text(Runtime& runtime, std::string_view text, const FormatSpec& spec) {
  if (spec.precision) {
    std::string_view rest = text;
    for (int i = 0; i < *spec.precision && !rest.empty(); ++i) take_code_point(rest);
    text = text.substr(0, text.size() - rest.size());
  }
  return lay_out(runtime, "", text, spec, '<');
}

Result<std::string> format_integer(Runtime& runtime, Integer value, const FormatSpec& spec) {
  static constexpr std::string_view kFloatTypes = "eEfFgG%";
  if (spec.type && kFloatTypes.find(spec.type) != kFloatTypes.npos) return format_float(runtime, double(value), spec);
  if (spec.precision) return refuse("a precision is not allowed for an integer");
  if (spec.type == 'c') {
    if (value < 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return refuse("no such code point");
    std::string character;
    append_utf8(character, uint32_t(value));
    return lay_out(runtime, "", character, spec, '<');
  }
  int base = 10;
  if (spec.type == 'b') base = 2;
  if (spec.type == 'o') base = 8;
  if (spec.type == 'x' || spec.type == 'X') base = 16;
  if (base == 10 && spec.type && spec.type != 'd' && spec.type != 'n') {
    return refuse("the format code '{}' is unknown for an integer", spec.type);
  }
  std::string digits = integer_text(value, base, spec.type == 'X');
  if (value < 0) digits.erase(0, 1);
  if (int(digits.size()) < spec.minimum_digits) digits.insert(0, size_t(spec.minimum_digits) - digits.size(), '0');
  std::string prefix = sign_text(value < 0, spec);
  if (spec.alternate && base != 10) prefix += fmt::format("0{}", spec.type);
  return finish_number(runtime, prefix, std::move(digits), spec, base == 10 ? 3 : 4);
}

Result<std::string> format_float(Runtime& runtime, double value, const FormatSpec& spec) {
  static constexpr std::string_view kTypes = "eEfFgGn%";
  if (spec.type && kTypes.find(spec.type) == kTypes.npos) {
    return refuse("the format code '{}' is unknown for a float", spec.type);
  }
  FormatSpec plain = spec;
  double magnitude = std::abs(value);
  if (spec.type == '%') {
    plain.type = 'f';
    magnitude *= 100;
  }
  std::string body = float_body(magnitude, plain) + (spec.type == '%' ? "%" : "");
  return finish_number(runtime, sign_text(std::signbit(value) && !std::isnan(value), spec), std::move(body), spec, 3);
}

Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) return to_text(runtime, value);
  METALLIC_ASSIGN(const FormatSpec spec, parse_format_spec(spec_text));
  if (value.is_integral()) return format_integer(runtime, value.as_integer(), spec);
  if (value.is(Kind::kFloat)) return format_float(runtime, value.as_number(), spec);
  if (!value.is_string()) return refuse("a {} takes no format specification ('{}')", type_name(value), spec_text);
  const bool zeros = spec.fill == "0" && spec.align == '=' && spec_text.find('=') == spec_text.npos;
  if ((spec.align == '=' && !zeros) || spec.sign != '-' || spec.alternate || spec.grouping ||
      (spec.type && spec.type != 's')) {
    return refuse("'{}' is no format specification for a string", spec_text);
  }
  FormatSpec left = spec;
  if (zeros) left.align = '<';
  return format_text(runtime, value.text(), left);
}

}  // namespace metallic::jinja
