#include "text/jinja/string_literal.h"

#include "base/error.h"
#include "base/utf8.h"

namespace metallic::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

// Reads up to `most` digits of `base` from the start of `text`, which it removes; their count in `count`.
uint32_t take_digits(std::string_view& text, int base, int most, int& count) {
  uint32_t value = 0;
  for (count = 0; count < most && !text.empty() && digit_value(text[0]) < base; ++count) {
    value = value * uint32_t(base) + uint32_t(digit_value(text[0]));
    text.remove_prefix(1);
  }
  return value;
}

Status append_code_point(std::string& out, uint32_t code_point) {
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) {
    return fail(ErrorCode::kInvalidArgument, "the escape names no code point: {:x}", code_point);
  }
  append_utf8(out, code_point);
  return {};
}

// The escape after a backslash, which `rest` begins with.
Status append_escape(std::string& out, std::string_view& rest) {
  static constexpr std::string_view kNames = "\\'\"abfnrtv";
  static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
  const char c = rest[0];
  int count = 0;
  if (c >= '0' && c <= '7') return append_code_point(out, take_digits(rest, 8, 3, count));
  rest.remove_prefix(1);
  if (c == '\n') return {};  // a line that continues
  if (const size_t at = kNames.find(c); at != kNames.npos) {
    out += kValues[at];
    return {};
  }
  if (c == 'x' || c == 'u' || c == 'U') {
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    const uint32_t code_point = take_digits(rest, 16, digits, count);
    if (count < digits) return fail(ErrorCode::kInvalidArgument, "\\{} needs {} hexadecimal digits", c, digits);
    return append_code_point(out, code_point);
  }
  if (c == 'N') return fail(ErrorCode::kUnsupported, "\\N{{name}} is not supported; write the character");
  out += '\\';  // an unknown escape stays as it is
  out += c;
  return {};
}

}  // namespace

Result<std::string> unescape(std::string_view body) {
  std::string out;
  while (!body.empty()) {
    const char c = body[0];
    body.remove_prefix(1);
    if (c != '\\') {
      out += c;
      continue;
    }
    if (body.empty()) return fail(ErrorCode::kInvalidArgument, "a \\ at the end of a string");
    METALLIC_TRY(append_escape(out, body));
  }
  return out;
}

}  // namespace metallic::jinja
