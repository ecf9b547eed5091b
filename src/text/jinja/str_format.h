// str.format: "{} {name!r:>8}".
#pragma once

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

Result<Value> str_format(Runtime& runtime, const Value& format, const Arguments& arguments);

}  // namespace metallic::jinja
