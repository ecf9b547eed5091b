#include "text/jinja/hash.h"

#include <cmath>
#include <functional>

namespace metallic::jinja {
namespace {

Result<bool> equal_lists(Runtime& runtime, const ValueList& a, const ValueList& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    METALLIC_ASSIGN(const bool same, equal(runtime, a[i], b[i]));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_dicts(Runtime& runtime, const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    METALLIC_ASSIGN(const Value* other, find(runtime, b, key));
    if (!other) return false;
    METALLIC_ASSIGN(const bool same, equal(runtime, value, *other));
    if (!same) return false;
  }
  return true;
}

// keys() compare as sets, items() as the dicts they are of; values() are only equal to themselves.
Result<bool> equal_views(Runtime& runtime, const DictViewObject& a, const DictViewObject& b) {
  if (a.part != b.part || a.part == DictViewObject::Part::kValues) return false;
  if (a.part == DictViewObject::Part::kItems) return equal_dicts(runtime, *a.dict, *b.dict);
  if (a.dict->entries.size() != b.dict->entries.size()) return false;
  for (const auto& entry : a.dict->entries) {
    METALLIC_ASSIGN(const Value* found, find(runtime, *b.dict, entry.first));
    if (!found) return false;
  }
  return true;
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  if (a.size != b.size) return false;
  return a.size == 0 || (a.start == b.start && (a.size == 1 || a.step == b.step));
}

Result<bool> less_lists(Runtime& runtime, const ValueList& a, const ValueList& b, bool or_equal) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    METALLIC_ASSIGN(const bool same, equal(runtime, a[i], b[i]));
    if (!same) return less(runtime, a[i], b[i], or_equal);
  }
  return or_equal ? a.size() <= b.size() : a.size() < b.size();
}

bool less_numbers(const Value& a, const Value& b, bool or_equal) {
  if (a.is_integral() && b.is_integral()) {
    return or_equal ? a.as_integer() <= b.as_integer() : a.as_integer() < b.as_integer();
  }
  return or_equal ? a.as_number() <= b.as_number() : a.as_number() < b.as_number();
}

size_t hash_number(const Value& value) {
  if (value.is_integral()) return std::hash<int64_t>()(int64_t(value.as_integer()));
  const double number = value.as_number();
  if (number == std::floor(number) && std::abs(number) < 0x1p126) {
    return std::hash<int64_t>()(int64_t(Integer(number)));
  }
  return std::hash<double>()(number);
}

size_t mix(size_t seed, size_t hash) { return seed * 1000003u ^ hash; }

}  // namespace

size_t hash_text(std::string_view text) { return std::hash<std::string_view>()(text); }

size_t hash_of_key(const Value& hashable) {
  if (hashable.is_string()) return hash_text(hashable.text());
  if (hashable.is_number()) return hash_number(hashable);
  if (hashable.is_sequence()) {
    size_t hash = 17;
    for (const Value& item : hashable.items()) hash = mix(hash, hash_of_key(item));
    return hash;
  }
  if (hashable.is_undefined() || hashable.is_none()) return size_t(hashable.kind());
  if (hashable.is(Kind::kRange)) return hashable.range().size;
  return std::hash<const void*>()(hashable.object());
}

Result<size_t> hash(Runtime& runtime, const Value& value) {
  METALLIC_TRY(runtime.spend_steps(1));
  if (value.is(Kind::kList) || value.is(Kind::kDict) || value.is(Kind::kDictView)) {
    return refuse("a {} cannot be a key (unhashable)", type_name(value));
  }
  if (!value.is(Kind::kTuple)) return hash_of_key(value);
  size_t combined = 17;
  for (const Value& item : value.items()) {
    METALLIC_ASSIGN(const size_t part, hash(runtime, item));
    combined = mix(combined, part);
  }
  return combined;
}

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b) {
  METALLIC_TRY(runtime.spend_steps(1));
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_integer() == b.as_integer();
    return a.as_number() == b.as_number();
  }
  if (a.kind() != b.kind()) return false;
  if (a.object() && a.object() == b.object()) return true;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return equal_lists(runtime, a.items(), b.items());
    case Kind::kDict:
      return equal_dicts(runtime, a.dict(), b.dict());
    case Kind::kRange:
      return equal_ranges(a.range(), b.range());
    case Kind::kDictView:
      return equal_views(runtime, a.view(), b.view());
    default:
      return false;
  }
}

Result<bool> less(Runtime& runtime, const Value& a, const Value& b, bool or_equal) {
  METALLIC_TRY(runtime.spend_steps(1));
  if (a.is_undefined()) return fail_undefined(a);
  if (b.is_undefined()) return fail_undefined(b);
  if (a.is_number() && b.is_number()) return less_numbers(a, b, or_equal);
  // Code points order as their UTF-8 bytes do.
  if (a.is_string() && b.is_string()) return or_equal ? a.text() <= b.text() : a.text() < b.text();
  if (a.is_sequence() && a.kind() == b.kind()) return less_lists(runtime, a.items(), b.items(), or_equal);
  return refuse("a {} and a {} have no order", type_name(a), type_name(b));
}

Result<const Value*> find(Runtime& runtime, const DictObject& dict, const Value& key) {
  if (key.is_string()) return dict.find(key.text());
  METALLIC_ASSIGN(const size_t hashed, hash(runtime, key));
  const auto [first, last] = dict.positions().equal_range(hashed);
  for (auto at = first; at != last; ++at) {
    const auto& [candidate, value] = dict.entries[at->second];
    METALLIC_ASSIGN(const bool same, equal(runtime, candidate, key));
    if (same) return &value;
  }
  return nullptr;
}

Status DictBuilder::set(Runtime& runtime, const Value& key, const Value& value) {
  METALLIC_ASSIGN(const size_t hashed, hash(runtime, key));
  const auto [first, last] = positions_.equal_range(hashed);
  for (auto at = first; at != last; ++at) {
    METALLIC_ASSIGN(const bool same, equal(runtime, entries_[at->second].first, key));
    if (!same) continue;
    entries_[at->second].second = value;
    return {};
  }
  positions_.emplace(hashed, entries_.size());
  entries_.emplace_back(key, value);
  return {};
}

Result<bool> DictBuilder::add(Runtime& runtime, const Value& key) {
  const size_t before = entries_.size();
  METALLIC_TRY(set(runtime, key, Value::none()));
  return entries_.size() > before;
}

void DictBuilder::set(std::string_view key, const Value& value) {
  const size_t hashed = hash_text(key);
  const auto [first, last] = positions_.equal_range(hashed);
  for (auto at = first; at != last; ++at) {
    auto& [candidate, old] = entries_[at->second];
    if (!candidate.is_string() || candidate.text() != key) continue;
    old = value;
    return;
  }
  positions_.emplace(hashed, entries_.size());
  entries_.emplace_back(key, value);
}

Value DictBuilder::finish() {
  positions_.clear();
  return Value(std::make_shared<DictObject>(std::move(entries_)));
}

}  // namespace metallic::jinja
