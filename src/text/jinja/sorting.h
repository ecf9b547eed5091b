// Stable sorting by keys that may turn out to have no order, and the keys that jinja's filters sort and group by.
#pragma once

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

// The items in the order of their keys (keys[i] belongs to items[i]); equal ones keep their places.
Result<ValueList> sort_by(Runtime& runtime, const ValueList& items, const ValueList& keys, bool reverse);

// The key of an item: its attribute at `path` (none: itself), strings in lower case unless case counts. `fallback`, if
// given, stands for what is undefined on the way.
struct KeyRule {
  Value path = Value::none();
  bool case_sensitive = false;
  const Value* fallback = nullptr;
};
Result<Value> key_of(Runtime& runtime, const Value& item, const KeyRule& rule);
Result<ValueList> keys_of(Runtime& runtime, const ValueList& items, const KeyRule& rule);

}  // namespace metallic::jinja
