// The tests: {{ value is name(arguments) }}.
#pragma once

#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

struct Test {
  const char* name;
  Result<bool> (*apply)(Runtime& runtime, const Value& value, const Arguments& arguments);
};

const Test* find_test(std::string_view name);  // null if there is none
[[nodiscard]] tl::unexpected<Error> fail_unknown_test(std::string_view name);

}  // namespace metallic::jinja
