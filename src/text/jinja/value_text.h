// Values to text: Python's str() and repr().
#pragma once

#include <string>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

Result<std::string> to_text(Runtime& runtime, const Value& value);
Result<std::string> repr(Runtime& runtime, const Value& value);
// str(value) at the end of `out`.
Status append_text(Runtime& runtime, const Value& value, std::string& out);

std::string quote(std::string_view text);  // repr() of a string

}  // namespace metallic::jinja
