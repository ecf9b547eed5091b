// map, select, reject, selectattr, rejectattr: a filter or a test for each item. Their results are iterators; a failure
// comes when the iterator gets there, as from a generator of Python.
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/tests.h"

namespace metallic::jinja {
namespace {

Arguments without_first(const Arguments& arguments, size_t count) {
  return {{arguments.positional.begin() + std::ptrdiff_t(count), arguments.positional.end()}, arguments.keyword};
}

Status map_attribute(Runtime& runtime, const ValueList& items, const Arguments& arguments, ValueList& out) {
  Value path;
  const Value* fallback = nullptr;
  for (const auto& [name, value] : arguments.keyword) {
    if (name == "attribute") {
      path = value;
    } else if (name == "default") {
      fallback = value.is_none() ? nullptr : &value;
    } else {
      return refuse("map has no argument '{}'", name);
    }
  }
  for (const Value& item : items) {
    METALLIC_ASSIGN(Value found, get_path(runtime, item, path, fallback));
    out.push_back(std::move(found));
  }
  return {};
}

Status map_filter(Runtime& runtime, const ValueList& items, const Arguments& arguments, ValueList& out) {
  if (arguments.positional.empty()) return refuse("map needs the name of a filter, or attribute=");
  const Value& name = arguments.positional[0];
  if (!name.is_string()) return refuse("map needs the name of a filter, not a {}", type_name(name));
  const Filter* filter = find_filter(name.text());
  if (!filter) return fail_unknown_filter(name.text());
  const Arguments rest = without_first(arguments, 1);
  for (const Value& item : items) {
    METALLIC_ASSIGN(Value mapped, filter->apply(runtime, item, rest));
    if (mapped.is_string()) METALLIC_TRY(runtime.spend_bytes(mapped.text().size()));
    out.push_back(std::move(mapped));
  }
  return {};
}

Status fill_map(Runtime& runtime, const Value& value, const Arguments& arguments, ValueList& out) {
  if (!truth(value)) return {};
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  METALLIC_TRY(runtime.spend_items(items->size()));
  bool by_attribute = false;
  for (const auto& keyword : arguments.keyword) by_attribute = by_attribute || keyword.first == "attribute";
  if (by_attribute && arguments.positional.empty()) return map_attribute(runtime, *items, arguments, out);
  return map_filter(runtime, *items, arguments, out);
}

Status fill_selection(Runtime& runtime, const Value& value, const Arguments& arguments, bool by_attribute, bool keep,
                      ValueList& out) {
  if (!truth(value)) return {};
  const size_t test_at = by_attribute ? 1 : 0;
  if (arguments.positional.size() < test_at) return refuse("selectattr and rejectattr need the name of an attribute");
  const Test* test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > test_at) {
    const Value& name = arguments.positional[test_at];
    if (!name.is_string()) return refuse("select and reject need the name of a test, not a {}", type_name(name));
    test = find_test(name.text());
    if (!test) return fail_unknown_test(name.text());
    rest = without_first(arguments, test_at + 1);
  }
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, value));
  METALLIC_TRY(runtime.spend_items(items->size()));
  for (const Value& item : *items) {
    Value subject = item;
    if (by_attribute) {
      METALLIC_ASSIGN(subject, get_path(runtime, item, arguments.positional[0]));
    }
    bool holds = truth(subject);
    if (test) {
      METALLIC_ASSIGN(holds, test->apply(runtime, subject, rest));
    }
    if (holds == keep) out.push_back(item);
  }
  return {};
}

Value as_iterator(ValueList items, const Status& status) {
  return Value::iterator(std::move(items), status ? nullptr : std::make_shared<const Error>(status.error()));
}

Result<Value> map(Runtime& runtime, const Value& value, const Arguments& arguments) {
  ValueList out;
  const Status status = fill_map(runtime, value, arguments, out);
  return as_iterator(std::move(out), status);
}

template <bool kByAttribute, bool kKeep>
Result<Value> select(Runtime& runtime, const Value& value, const Arguments& arguments) {
  ValueList out;
  const Status status = fill_selection(runtime, value, arguments, kByAttribute, kKeep, out);
  return as_iterator(std::move(out), status);
}

constexpr Filter kFilters[] = {
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<true, false>},
    {"select", select<false, true>},
    {"selectattr", select<true, true>},
};

}  // namespace

std::span<const Filter> select_filters() { return kFilters; }

}  // namespace metallic::jinja
