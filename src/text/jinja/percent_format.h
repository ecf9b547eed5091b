// The % operator of strings: "%s has %05.2f" % (name, number).
#pragma once

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

// `arguments` is a tuple, a dict for %(name)s, or a single value.
Result<Value> percent_format(Runtime& runtime, const Value& format, const Value& arguments);

}  // namespace metallic::jinja
