// Reaching into values: attributes, subscripts, slices, iteration, length, calls.
#pragma once

#include <optional>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

// value.name: a method or attribute, else the entry of that key, else undefined.
Result<Value> get_attribute(Runtime& runtime, const Value& value, std::string_view name);
// value[key]: the item of that key or index, else the attribute, else undefined.
Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key);
Result<Value> get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop, const Value& step);

// All items at once (an iterator is used up). Lists are shared, not copied.
Result<SharedList> iterate(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);
// len(value), or nothing for what has none.
std::optional<size_t> length_of(const Value& value);

bool is_callable(const Value& value);
Result<Value> call(Runtime& runtime, const Value& callee, const Arguments& arguments);

// The attribute that filters take: "a.b.0" is looked up step by step with get_item; none is the value itself.
// `fallback`, if any, stands for what is undefined on the way.
Result<Value> get_path(Runtime& runtime, const Value& value, const Value& path, const Value* fallback = nullptr);

}  // namespace metallic::jinja
