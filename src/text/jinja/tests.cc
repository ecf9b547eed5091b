#include "text/jinja/tests.h"

#include <unordered_map>

#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/parameters.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

using Predicate = bool (*)(const Value&);

template <Predicate kHolds>
Result<bool> simple(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("test", arguments, {}));
  return kHolds(value);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is(Kind::kBool); }
bool is_true(const Value& value) { return value.is(Kind::kBool) && value.as_bool(); }
bool is_false(const Value& value) { return value.is(Kind::kBool) && !value.as_bool(); }
bool is_integer(const Value& value) { return value.is(Kind::kInteger); }
bool is_float(const Value& value) { return value.is(Kind::kFloat); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.is_string(); }
bool is_mapping(const Value& value) { return value.is(Kind::kDict); }
bool is_escaped(const Value& value) { return value.is_markup(); }
bool is_sequence(const Value& value) {
  return value.is_string() || value.is_sequence() || value.is(Kind::kDict) || value.is(Kind::kRange) ||
         value.is_undefined();
}

template <Operator kOperator>
Result<bool> compared(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("test", arguments, {""}, 1));
  return compare(runtime, kOperator, value, parameters.at(0));
}

// value % divisor == wanted
Result<bool> leaves(Runtime& runtime, const Value& value, const Value& divisor, int wanted) {
  METALLIC_ASSIGN(const Value rest, arithmetic(runtime, Operator::kModulo, value, divisor));
  return compare(runtime, Operator::kEqual, rest, Value(wanted));
}

Result<bool> even(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("even", arguments, {}));
  return leaves(runtime, value, Value(2), 0);
}

Result<bool> odd(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("odd", arguments, {}));
  return leaves(runtime, value, Value(2), 1);
}

Result<bool> divisible_by(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("divisibleby", arguments, {"num"}, 1));
  return leaves(runtime, value, parameters.at(0), 0);
}

// islower or isupper of str(value).
Result<bool> has_case(Runtime& runtime, const Value& value, std::string_view method_name) {
  METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
  for (const Method& method : string_methods()) {
    if (method_name != method.name) continue;
    METALLIC_ASSIGN(const Value holds, method.call(runtime, Value(text), {}));
    return truth(holds);
  }
  return false;
}

Result<bool> lower(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("lower", arguments, {}));
  return has_case(runtime, value, "islower");
}

Result<bool> upper(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("upper", arguments, {}));
  return has_case(runtime, value, "isupper");
}

// Python's `is`: the same object. Small integers and short strings are single objects there, so equal ones count as
// the same here.
Result<bool> same_as(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("sameas", arguments, {"other"}, 1));
  const Value& other = parameters.at(0);
  if (value.kind() != other.kind()) return false;
  if (value.object() && !value.is_string()) return value.object() == other.object();
  return compare(runtime, Operator::kEqual, value, other);
}

Result<bool> filter_exists(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("filter", arguments, {}));
  return value.is_string() && find_filter(value.text()) != nullptr;
}

Result<bool> test_exists(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("test", arguments, {}));
  return value.is_string() && find_test(value.text()) != nullptr;
}

constexpr Test kTests[] = {
    {"!=", compared<Operator::kNotEqual>},
    {"<", compared<Operator::kLess>},
    {"<=", compared<Operator::kLessEqual>},
    {"==", compared<Operator::kEqual>},
    {">", compared<Operator::kGreater>},
    {">=", compared<Operator::kGreaterEqual>},
    {"boolean", simple<is_boolean>},
    {"callable", simple<is_callable>},
    {"defined", simple<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", compared<Operator::kEqual>},
    {"equalto", compared<Operator::kEqual>},
    {"escaped", simple<is_escaped>},
    {"even", even},
    {"false", simple<is_false>},
    {"filter", filter_exists},
    {"float", simple<is_float>},
    {"ge", compared<Operator::kGreaterEqual>},
    {"greaterthan", compared<Operator::kGreater>},
    {"gt", compared<Operator::kGreater>},
    {"in", compared<Operator::kIn>},
    {"integer", simple<is_integer>},
    {"iterable", simple<is_iterable>},
    {"le", compared<Operator::kLessEqual>},
    {"lessthan", compared<Operator::kLess>},
    {"lower", lower},
    {"lt", compared<Operator::kLess>},
    {"mapping", simple<is_mapping>},
    {"ne", compared<Operator::kNotEqual>},
    {"none", simple<is_none>},
    {"number", simple<is_number>},
    {"odd", odd},
    {"sameas", same_as},
    {"sequence", simple<is_sequence>},
    {"string", simple<is_string>},
    {"test", test_exists},
    {"true", simple<is_true>},
    {"undefined", simple<is_undefined>},
    {"upper", upper},
};

}  // namespace

const Test* find_test(std::string_view name) {
  static const auto all = [] {
    std::unordered_map<std::string_view, const Test*> tests;
    for (const Test& test : kTests) tests.emplace(test.name, &test);
    return tests;
  }();
  const auto at = all.find(name);
  return at == all.end() ? nullptr : at->second;
}

tl::unexpected<Error> fail_unknown_test(std::string_view name) { return refuse("there is no test '{}'", name); }

}  // namespace metallic::jinja
