// Python's format specification (docs.python.org, "Format Specification Mini-Language") for strings and numbers; the
// % operator uses it too.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

struct FormatSpec {
  std::string fill = " ";  // one code point
  bool has_fill = false;
  char align = 0;   // < > ^ =, or 0 for the type's own
  char sign = '-';  // + - or space
  bool alternate = false;
  Integer width = 0;
  char grouping = 0;  // , or _
  std::optional<int> precision;
  char type = 0;
  int minimum_digits = 0;  // of an integer; the % operator's precision
};

Result<FormatSpec> parse_format_spec(std::string_view text);

Result<std::string> format_text(Runtime& runtime, std::string_view text, const FormatSpec& spec);
Result<std::string> format_integer(Runtime& runtime, Integer value, const FormatSpec& spec);
Result<std::string> format_float(Runtime& runtime, double value, const FormatSpec& spec);

// format(value, spec).
Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view spec);

}  // namespace metallic::jinja
