// Equality, hashing and order of values, as Python's ==, hash() and <; and building dicts by them.
#pragma once

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b);
// a < b, or a <= b: an error between kinds that have no order.
Result<bool> less(Runtime& runtime, const Value& a, const Value& b, bool or_equal = false);

// Values that are equal have equal hashes; lists, dicts and other mutable things of Python have none.
Result<size_t> hash(Runtime& runtime, const Value& value);
size_t hash_of_key(const Value& hashable);

// dict[key], null if absent; an error if the key has no hash.
Result<const Value*> find(Runtime& runtime, const DictObject& dict, const Value& key);

class DictBuilder {
 public:
  // Setting a key again replaces its value and leaves its place.
  Status set(Runtime& runtime, const Value& key, const Value& value);
  void set(std::string_view key, const Value& value);
  // Adds the key if it is new; whether it was.
  Result<bool> add(Runtime& runtime, const Value& key);
  Value finish();

 private:
  DictObject::Entries entries_;
  std::unordered_multimap<size_t, size_t> positions_;
};

}  // namespace metallic::jinja
