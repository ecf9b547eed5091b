// JSON to values and back: the conversation coming in, the tojson filter going out (Python's json.dumps).
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

// `what` is how an error names the text: "messages". Nesting beyond kMaximumValueDepth is refused.
Result<Value> parse_json(std::string_view text, std::string_view what);

struct JsonStyle {
  bool ascii_only = false;
  bool sort_keys = false;
  bool multiline = false;  // one line for each item, indented
  std::string indent;      // one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
Result<std::string> dump_json(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace metallic::jinja
