#include "text/jinja/access.h"

#include <algorithm>

#include "text/jinja/hash.h"
#include "text/jinja/methods.h"
#include "text/jinja/number_text.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode_text.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

Result<Value> missing_item(Runtime& runtime, const Value& value, const Value& key) {
  if (key.is_string()) {
    return Value::undefined(fmt::format("'{}' has no attribute '{}'", type_name(value), key.text()));
  }
  METALLIC_ASSIGN(const std::string text, repr(runtime, key));
  return Value::undefined(fmt::format("{} has no element {}", type_name(value), text));
}

std::optional<size_t> resolve_index(const Value& key, size_t size) {
  if (!key.is_integral()) return std::nullopt;
  const Integer index = key.as_integer() < 0 ? key.as_integer() + Integer(size) : key.as_integer();
  if (index < 0 || index >= Integer(size)) return std::nullopt;
  return size_t(index);
}

Value with_markup_of(const Value& source, std::string text) {
  return source.is_markup() ? Value::markup(std::move(text)) : Value(std::move(text));
}

// value[key] alone: nothing where Python raises a TypeError or a LookupError.
Result<std::optional<Value>> subscript(Runtime& runtime, const Value& value, const Value& key) {
  using Found = std::optional<Value>;
  switch (value.kind()) {
    case Kind::kDict: {
      if (key.is(Kind::kList) || key.is(Kind::kDict)) return Found();
      METALLIC_ASSIGN(const Value* found, find(runtime, value.dict(), key));
      return found ? Found(*found) : Found();
    }
    case Kind::kList:
    case Kind::kTuple: {
      const auto index = resolve_index(key, value.items().size());
      return index ? Found(value.items()[*index]) : Found();
    }
    case Kind::kString: {
      const auto index = resolve_index(key, value.string().length);
      if (!index) return Found();
      METALLIC_TRY(runtime.spend_steps(value.string().is_ascii() ? 1 : 1 + *index / 64));
      return Found(with_markup_of(value, std::string(code_point_at(value.string(), *index))));
    }
    case Kind::kRange: {
      const auto index = resolve_index(key, value.range().size);
      return index ? Found(value.range().at(*index)) : Found();
    }
    default:
      return Found();
  }
}

SharedList share(ValueList items) { return std::make_shared<const ValueList>(std::move(items)); }

ValueList characters(const Value& text) {
  ValueList items;
  items.reserve(text.string().length);
  for (std::string_view rest = text.text(); !rest.empty();) {
    const std::string_view here = rest;
    take_code_point(rest);
    items.push_back(with_markup_of(text, std::string(here.substr(0, here.size() - rest.size()))));
  }
  return items;
}

Result<SharedList> drain(IteratorObject& iterator) {
  const auto from = iterator.items.begin() + std::ptrdiff_t(iterator.position);
  ValueList rest(from, iterator.items.end());
  iterator.position = iterator.items.size();
  if (iterator.error) return tl::unexpected<Error>(*iterator.error);
  return share(std::move(rest));
}

}  // namespace

Result<Value> get_attribute(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is(Kind::kHost)) {
    METALLIC_ASSIGN(Value found, value.host().attribute(name));
    return found.is_undefined() && found.object() == nullptr ? missing_item(runtime, value, Value(name)) : found;
  }
  METALLIC_ASSIGN(std::optional<Value> method, find_method(value, name));
  if (method) return *method;
  if (value.is(Kind::kDict)) {
    if (const Value* found = value.dict().find(name)) return *found;
  }
  return missing_item(runtime, value, Value(name));
}

Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) return fail_undefined(value);
  METALLIC_ASSIGN(std::optional<Value> found, subscript(runtime, value, key));
  if (found) return *found;
  if (key.is_string() && !value.is(Kind::kDict)) return get_attribute(runtime, value, key.text());
  if (key.is_string()) {
    METALLIC_ASSIGN(std::optional<Value> method, find_method(value, key.text()));
    if (method) return *method;
  }
  return missing_item(runtime, value, key);
}

Result<Value> get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
                        const Value& step) {
  if (value.is_undefined()) return fail_undefined(value);
  const bool sliceable = value.is_string() || value.is_sequence() || value.is(Kind::kRange);
  if (!sliceable) return refuse("a {} cannot be sliced", type_name(value));
  METALLIC_ASSIGN(const SliceBounds bounds, resolve_slice(start, stop, step, *length_of(value)));
  if (value.is_string()) {
    METALLIC_ASSIGN(std::string text, slice_text(runtime, value.string(), bounds));
    return with_markup_of(value, std::move(text));
  }
  if (value.is(Kind::kRange)) {
    const RangeObject& range = value.range();
    if (bounds.count < 2) {  // whose step may be too large to multiply
      const Integer first = bounds.count == 0 ? range.start : range.at(size_t(bounds.start)).as_integer();
      return Value(std::make_shared<RangeObject>(first, first + Integer(bounds.count), 1));
    }
    return Value(std::make_shared<RangeObject>(range.start + bounds.start * range.step,
                                               range.start + bounds.stop * range.step, range.step * bounds.step));
  }
  METALLIC_TRY(runtime.spend_items(bounds.count));
  ValueList items;
  items.reserve(bounds.count);
  Integer at = bounds.start;
  for (size_t i = 0; i < bounds.count; ++i, at += bounds.step) items.push_back(value.items()[size_t(at)]);
  return value.is(Kind::kList) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Result<SharedList> iterate(Runtime& runtime, const Value& value) {
  const size_t size = length_of(value).value_or(0);
  if (value.is_sequence()) {
    METALLIC_TRY(runtime.spend_steps(size));
    return value.shared_items();
  }
  METALLIC_TRY(runtime.spend_items(size));
  ValueList items;
  switch (value.kind()) {
    case Kind::kUndefined:
      return share({});
    case Kind::kString:
      return share(characters(value));
    case Kind::kDict:
      for (const auto& entry : value.dict().entries) items.push_back(entry.first);
      return share(std::move(items));
    case Kind::kRange:
      for (size_t i = 0; i < size; ++i) items.push_back(value.range().at(i));
      return share(std::move(items));
    case Kind::kDictView:
      for (size_t i = 0; i < size; ++i) items.push_back(value.view().at(i));
      return share(std::move(items));
    case Kind::kIterator:
      METALLIC_TRY(runtime.spend_items(value.iterator().items.size()));
      return drain(value.iterator());
    default:
      return refuse("a {} cannot be iterated over", type_name(value));
  }
}

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInteger:
    case Kind::kFloat:
    case Kind::kHost:
      return false;
    default:
      return true;
  }
}

std::optional<size_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return value.string().length;
    case Kind::kList:
    case Kind::kTuple:
      return value.items().size();
    case Kind::kDict:
      return value.dict().entries.size();
    case Kind::kRange:
      return value.range().size;
    case Kind::kDictView:
      return value.view().dict->entries.size();
    case Kind::kHost:
      return value.host().length();
    default:
      return std::nullopt;
  }
}

bool is_callable(const Value& value) {
  return value.is_undefined() || (value.is(Kind::kHost) && value.host().callable());
}

Result<Value> call(Runtime& runtime, const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return fail_undefined(callee);
  if (!is_callable(callee)) return refuse("a {} cannot be called", type_name(callee));
  const DepthGuard guard(runtime);
  METALLIC_TRY(guard.check());
  return callee.host().call(runtime, arguments);
}

Result<Value> get_path(Runtime& runtime, const Value& value, const Value& path, const Value* fallback) {
  if (path.is_none()) return value;
  const auto step = [&](const Value& from, const Value& key) -> Result<Value> {
    METALLIC_ASSIGN(Value found, get_item(runtime, from, key));
    return fallback && found.is_undefined() ? *fallback : found;
  };
  if (!path.is_string()) return step(value, path);
  Value item = value;
  std::string_view rest = path.text();
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    const auto index = digits ? parse_integer(part) : std::nullopt;
    METALLIC_ASSIGN(item, step(item, index ? Value(*index) : Value(part)));
    if (dot == rest.npos) return item;
    rest.remove_prefix(dot + 1);
  }
}

}  // namespace metallic::jinja
