// The methods of strings, lists, dicts and numbers: Python's, without those that the sandbox forbids.
#pragma once

#include <optional>
#include <span>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

struct Method {
  const char* name;
  Result<Value> (*call)(Runtime& runtime, const Value& self, const Arguments& arguments);
};
std::span<const Method> string_methods();
std::span<const Method> container_methods(Kind kind);  // list, tuple, dict, range; empty for others
std::span<const Method> number_methods(Kind kind);

// value.name as a bound method or a plain attribute of Python's type; nothing if the type has none of that name. For
// one that would change the value: undefined, as in jinja's immutable sandbox. For one not written here: kUnsupported.
Result<std::optional<Value>> find_method(const Value& value, std::string_view name);

}  // namespace metallic::jinja
