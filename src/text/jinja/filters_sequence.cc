// The filters of sequences: their parts, their order, their aggregates.
#include <algorithm>

#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/hash.h"
#include "text/jinja/operators.h"
#include "text/jinja/parameters.h"
#include "text/jinja/sorting.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode_text.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

Result<Value> length(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("length", arguments, {}));
  const std::optional<size_t> size = length_of(value);
  if (!size) return refuse("a {} has no length", type_name(value));
  return Value(Integer(*size));
}

Result<Value> first(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("first", arguments, {}));
  if (value.is(Kind::kIterator)) {
    IteratorObject& iterator = value.iterator();
    if (iterator.position < iterator.items.size()) return iterator.items[iterator.position++];
    if (iterator.error) return tl::unexpected<Error>(*iterator.error);
  } else if (value.is_string() && !value.text().empty()) {
    return get_item(runtime, value, Value(0));
  } else {
    METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
    if (!items->empty()) return items->front();
  }
  return Value::undefined("No first item, sequence was empty.");
}

Result<Value> last(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("last", arguments, {}));
  if (value.is(Kind::kIterator)) return refuse("last of a generator; make it a list first");
  if (value.is_string() && !value.text().empty()) return get_item(runtime, value, Value(-1));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  if (items->empty()) return Value::undefined("No last item, sequence was empty.");
  return items->back();
}

Result<Value> list(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("list", arguments, {}));
  if (value.is(Kind::kList)) return value;
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  METALLIC_TRY(runtime.spend_items(items->size()));
  return Value::list(*items);
}

Result<Value> join(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("join", arguments, {"d", "attribute"}));
  METALLIC_ASSIGN(const std::string separator, to_text(runtime, parameters.or_else(0, Value(""))));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  std::string out;
  for (size_t i = 0; i < items->size(); ++i) {
    METALLIC_ASSIGN(const Value item, get_path(runtime, (*items)[i], parameters.or_else(1, Value::none())));
    METALLIC_TRY(runtime.spend_bytes(separator.size()));
    if (i > 0) out += separator;
    METALLIC_TRY(append_text(runtime, item, out));
    if (out.size() > runtime.limits.output_bytes) METALLIC_TRY(runtime.spend_bytes(out.size()));
  }
  return Value(std::move(out));
}

Result<Value> reverse(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("reverse", arguments, {}));
  if (value.is_string()) return get_slice(runtime, value, Value::none(), Value::none(), Value(-1));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  METALLIC_TRY(runtime.spend_items(items->size()));
  ValueList reversed(items->rbegin(), items->rend());
  return value.is(Kind::kIterator) ? Value::list(std::move(reversed)) : Value::iterator(std::move(reversed));
}

Result<Value> sort(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters,
                  Parameters::bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  METALLIC_ASSIGN(const bool reverse, parameters.flag_or(0, false));
  const bool case_sensitive = parameters.truth_or(1, false);
  const Value attribute = parameters.or_else(2, Value::none());
  std::vector<KeyRule> rules;  // one for each of "a,b"
  if (attribute.is_string()) {
    METALLIC_ASSIGN(const auto paths, split(runtime, attribute.text(), ",", -1, false));
    for (const std::string_view path : paths) rules.push_back({Value(path), case_sensitive, nullptr});
  } else {
    rules.push_back({attribute, case_sensitive, nullptr});
  }
  METALLIC_TRY(runtime.spend_items(items->size() * rules.size()));
  ValueList keys;
  for (const Value& item : *items) {
    ValueList parts;
    for (const KeyRule& rule : rules) {
      METALLIC_ASSIGN(Value part, key_of(runtime, item, rule));
      parts.push_back(std::move(part));
    }
    keys.push_back(Value::list(std::move(parts)));
  }
  METALLIC_ASSIGN(ValueList sorted, sort_by(runtime, *items, keys, reverse));
  return Value::list(std::move(sorted));
}

Result<Value> dictsort(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters,
                  Parameters::bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  METALLIC_ASSIGN(const std::string_view by, parameters.text_or(1, "key"));
  METALLIC_ASSIGN(const bool reverse, parameters.flag_or(2, false));
  if (by != "key" && by != "value") return refuse("dictsort sorts by 'key' or 'value', not by '{}'", by);
  if (value.is_undefined()) return fail_undefined(value);
  if (!value.is(Kind::kDict)) return refuse("dictsort of a {}, where it needs a dict", type_name(value));
  METALLIC_TRY(runtime.spend_items(value.dict().entries.size()));
  ValueList items;
  for (const auto& [key, item] : value.dict().entries) items.push_back(Value::tuple({key, item}));
  const KeyRule rule{Value(by == "key" ? 0 : 1), parameters.truth_or(0, false), nullptr};
  METALLIC_ASSIGN(const ValueList keys, keys_of(runtime, items, rule));
  METALLIC_ASSIGN(ValueList sorted, sort_by(runtime, items, keys, reverse));
  return Value::list(std::move(sorted));
}

// An iterator of what `make` appends; a failure comes when the iterator gets there, as from a generator of Python.
template <class Make>
Value generate(Make&& make) {
  ValueList items;
  const Status status = make(items);
  return Value::iterator(std::move(items), status ? nullptr : std::make_shared<const Error>(status.error()));
}

Result<Value> unique(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("unique", arguments, {"case_sensitive", "attribute"}));
  const KeyRule rule{parameters.or_else(1, Value::none()), parameters.truth_or(0, false), nullptr};
  return generate([&](ValueList& out) -> Status {
    METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
    DictBuilder seen;
    for (const Value& item : *items) {
      METALLIC_ASSIGN(const Value key, key_of(runtime, item, rule));
      METALLIC_ASSIGN(const bool added, seen.add(runtime, key));
      if (added) out.push_back(item);
    }
    return {};
  });
}

template <bool kMaximum>
Result<Value> extreme(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("min", arguments, {"case_sensitive", "attribute"}));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  if (items->empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const KeyRule rule{parameters.or_else(1, Value::none()), parameters.truth_or(0, false), nullptr};
  METALLIC_ASSIGN(const ValueList keys, keys_of(runtime, *items, rule));
  size_t best = 0;
  for (size_t i = 1; i < keys.size(); ++i) {
    METALLIC_ASSIGN(const bool better,
                    kMaximum ? less(runtime, keys[best], keys[i]) : less(runtime, keys[i], keys[best]));
    if (better) best = i;
  }
  return (*items)[best];
}

Result<Value> sum(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("sum", arguments, {"attribute", "start"}));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  Value total = parameters.or_else(1, Value(0));
  if (total.is_string()) return refuse("sum does not add strings; use join");
  for (const Value& item : *items) {
    METALLIC_ASSIGN(const Value part, get_path(runtime, item, parameters.or_else(0, Value::none())));
    METALLIC_ASSIGN(total, arithmetic(runtime, Operator::kAdd, total, part));
  }
  return total;
}

Result<Value> batch(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("batch", arguments, {"linecount", "fill_with"}, 1));
  METALLIC_ASSIGN(const Integer size, parameters.integer(0));
  return generate([&](ValueList& out) -> Status {
    METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
    METALLIC_TRY(runtime.spend_items(items->size()));
    ValueList line;
    for (const Value& item : *items) {
      if (Integer(line.size()) == size) out.push_back(Value::list(std::exchange(line, {})));
      line.push_back(item);
    }
    if (line.empty()) return {};
    const Integer missing = size - Integer(line.size());
    if (parameters.given_some(1) && missing > 0) {
      METALLIC_TRY(runtime.spend_items(missing > Integer(runtime.limits.steps) ? UINT64_MAX : uint64_t(missing)));
      line.insert(line.end(), size_t(missing), parameters.at(1));
    }
    out.push_back(Value::list(std::move(line)));
    return {};
  });
}

Result<Value> slice(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("slice", arguments, {"slices", "fill_with"}, 1));
  METALLIC_ASSIGN(const Integer slices, parameters.integer(0));
  return generate([&](ValueList& out) -> Status {
    METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
    if (slices == 0) return refuse("slice into 0 slices");
    if (slices < 0) return {};
    METALLIC_TRY(runtime.spend_items(slices > Integer(runtime.limits.steps) ? UINT64_MAX : uint64_t(slices)));
    METALLIC_TRY(runtime.spend_items(items->size()));
    const size_t each = items->size() / size_t(slices);
    const size_t longer = items->size() % size_t(slices);  // the first ones hold one more
    auto at = items->begin();
    for (size_t i = 0; i < size_t(slices); ++i) {
      const auto end = at + std::ptrdiff_t(each + (i < longer ? 1 : 0));
      ValueList part(at, end);
      at = end;
      if (parameters.given_some(1) && i >= longer) part.push_back(parameters.at(1));
      out.push_back(Value::list(std::move(part)));
    }
    return {};
  });
}

Result<Value> groupby(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters,
                  Parameters::bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  const Value* fallback = parameters.given_some(1) ? &parameters.at(1) : nullptr;
  const KeyRule rule{parameters.at(0), parameters.truth_or(2, false), fallback};
  METALLIC_ASSIGN(const ValueList keys, keys_of(runtime, *items, rule));
  METALLIC_ASSIGN(const ValueList sorted, sort_by(runtime, *items, keys, false));
  METALLIC_ASSIGN(const ValueList sorted_keys, keys_of(runtime, sorted, rule));
  ValueList out;
  for (size_t first = 0; first < sorted.size();) {
    size_t end = first + 1;
    for (; end < sorted.size(); ++end) {
      METALLIC_ASSIGN(const bool same, equal(runtime, sorted_keys[first], sorted_keys[end]));
      if (!same) break;
    }
    METALLIC_ASSIGN(Value grouper, get_path(runtime, sorted[first], rule.path, fallback));  // in its own case
    ValueList group(sorted.begin() + std::ptrdiff_t(first), sorted.begin() + std::ptrdiff_t(end));
    ValueList pair{std::move(grouper), Value::list(std::move(group))};
    out.emplace_back(std::make_shared<SequenceObject>(Kind::kTuple, std::move(pair), true));
    first = end;
  }
  return Value::list(std::move(out));
}

Result<Value> items(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("items", arguments, {}));
  return generate([&](ValueList& out) -> Status {
    if (value.is_undefined()) return {};
    if (!value.is(Kind::kDict)) return refuse("items of a {}, where it needs a dict", type_name(value));
    METALLIC_TRY(runtime.spend_items(value.dict().entries.size()));
    for (const auto& [key, item] : value.dict().entries) out.push_back(Value::tuple({key, item}));
    return {};
  });
}

constexpr Filter kFilters[] = {
    {"batch", batch},       {"count", length},       {"dictsort", dictsort}, {"first", first},   {"groupby", groupby},
    {"items", items},       {"join", join},          {"last", last},         {"length", length}, {"list", list},
    {"max", extreme<true>}, {"min", extreme<false>}, {"reverse", reverse},   {"slice", slice},   {"sort", sort},
    {"sum", sum},           {"unique", unique},
};

}  // namespace

std::span<const Filter> sequence_filters() { return kFilters; }

}  // namespace metallic::jinja
