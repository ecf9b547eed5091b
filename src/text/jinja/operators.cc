#include "text/jinja/operators.h"

#include <cmath>

#include "text/jinja/access.h"
#include "text/jinja/hash.h"
#include "text/jinja/percent_format.h"
#include "text/jinja/text_ops.h"

namespace metallic::jinja {
namespace {

const char* symbol(Operator op) {
  static constexpr const char* kSymbols[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kSymbols[size_t(op)];
}

tl::unexpected<Error> no_operator(Operator op, const Value& a, const Value& b) {
  if (a.is_undefined()) return fail_undefined(a);
  if (b.is_undefined()) return fail_undefined(b);
  return refuse("{} cannot be applied to a {} and a {}", symbol(op), type_name(a), type_name(b));
}

tl::unexpected<Error> overflow() {
  return fail(ErrorCode::kOutOfRange, "an integer of more than 127 bits, which the interpreter does not hold");
}

Result<Value> integer_power(Integer base, Integer exponent) {
  if (exponent < 0) {
    if (base == 0) return refuse("0 to a negative power");
    return Value(std::pow(double(base), double(exponent)));
  }
  Integer result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value(result);
}

Result<Value> integer_arithmetic(Operator op, Integer a, Integer b) {
  Integer result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return overflow();
      return Value(result);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return overflow();
      return Value(result);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return overflow();
      return Value(result);
    case Operator::kPower:
      return integer_power(a, b);
    default:
      break;
  }
  if (b == 0) return refuse("division by zero");
  if (op == Operator::kDivide) return Value(double(a) / double(b));
  if (b == -1) return op == Operator::kModulo ? Result<Value>(Value(0)) : integer_arithmetic(Operator::kSubtract, 0, a);
  const bool adjust = a % b != 0 && ((a % b < 0) != (b < 0));  // towards minus infinity
  if (op == Operator::kFloorDivide) return Value(Integer(a / b - (adjust ? 1 : 0)));
  return Value(Integer(a % b + (adjust ? b : 0)));
}

Result<Value> float_power(double a, double b) {
  if (a == 0 && b < 0) return refuse("0.0 to a negative power");
  if (a < 0 && std::isfinite(b) && b != std::floor(b)) {
    return refuse("a negative number to a fractional power is complex");
  }
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) return refuse("the result of ** is too large");
  return Value(result);
}

// Quotient and remainder as Python's float divmod: the remainder has the sign of the divisor.
Value float_floor(Operator op, double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Operator::kModulo) return Value(remainder);
  if (quotient == 0) return Value(std::copysign(0.0, a / b));
  const double whole = std::floor(quotient);
  return Value(quotient - whole > 0.5 ? whole + 1 : whole);
}

Result<Value> float_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value(a + b);
    case Operator::kSubtract:
      return Value(a - b);
    case Operator::kMultiply:
      return Value(a * b);
    case Operator::kPower:
      return float_power(a, b);
    default:
      break;
  }
  if (b == 0) return refuse("division by zero");
  if (op == Operator::kDivide) return Value(a / b);
  return float_floor(op, a, b);
}

Result<Value> concatenate_strings(Runtime& runtime, const Value& a, const Value& b) {
  const bool markup = a.is_markup() || b.is_markup();
  const auto part = [&](const Value& value) {
    return markup && !value.is_markup() ? escape_html(value.text()) : value.text();
  };
  METALLIC_TRY(runtime.spend_bytes(a.text().size() + b.text().size()));
  if (markup) return Value::markup(part(a) + part(b));
  return Value(a.text() + b.text());
}

Result<Value> concatenate_lists(Runtime& runtime, const Value& a, const Value& b) {
  METALLIC_TRY(runtime.spend_items(a.items().size() + b.items().size()));
  ValueList items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::kList) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Result<Value> repeat_value(Runtime& runtime, const Value& value, Integer count) {
  if (value.is_string()) {
    METALLIC_ASSIGN(std::string text, repeat(runtime, value.text(), count));
    return value.is_markup() ? Value::markup(std::move(text)) : Value(std::move(text));
  }
  ValueList items;
  const ValueList& source = value.items();
  if (count > 0 && !source.empty()) {
    if (count > Integer(runtime.limits.steps)) METALLIC_TRY(runtime.spend_items(UINT64_MAX));
    METALLIC_TRY(runtime.spend_items(uint64_t(count) * source.size()));
    for (Integer i = 0; i < count; ++i) items.insert(items.end(), source.begin(), source.end());
  }
  return value.is(Kind::kList) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

bool can_repeat(const Value& value) { return value.is_string() || value.is_sequence(); }

Result<bool> contains_item(Runtime& runtime, const Value& container, const Value& item) {
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, container));
  for (const Value& each : *items) {
    METALLIC_ASSIGN(const bool same, equal(runtime, each, item));
    if (same) return true;
  }
  return false;
}

Result<bool> opposite(Result<bool> holds) {
  if (holds) holds = !*holds;
  return holds;
}

}  // namespace

Result<Value> arithmetic(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return integer_arithmetic(op, a.as_integer(), b.as_integer());
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.as_number(), b.as_number());
  if (op == Operator::kAdd && a.is_string() && b.is_string()) return concatenate_strings(runtime, a, b);
  if (op == Operator::kAdd && a.is_sequence() && a.kind() == b.kind()) return concatenate_lists(runtime, a, b);
  if (op == Operator::kMultiply && can_repeat(a) && b.is_integral()) return repeat_value(runtime, a, b.as_integer());
  if (op == Operator::kMultiply && can_repeat(b) && a.is_integral()) return repeat_value(runtime, b, a.as_integer());
  if (op == Operator::kModulo && a.is_string()) return percent_format(runtime, a, b);
  return no_operator(op, a, b);
}

Result<bool> compare(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return equal(runtime, a, b);
    case Operator::kNotEqual:
      return opposite(equal(runtime, a, b));
    case Operator::kLess:
      return less(runtime, a, b);
    case Operator::kLessEqual:
      return less(runtime, a, b, true);
    case Operator::kGreater:
      return less(runtime, b, a);
    case Operator::kGreaterEqual:
      return less(runtime, b, a, true);
    case Operator::kIn:
      return contains(runtime, b, a);
    case Operator::kNotIn:
      return opposite(contains(runtime, b, a));
    default:
      return refuse("{} compares nothing", symbol(op));
  }
}

Result<Value> negate(const Value& value) {
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_integral()) return integer_arithmetic(Operator::kSubtract, 0, value.as_integer());
  if (value.is_number()) return Value(-value.as_number());
  return refuse("- cannot be applied to a {}", type_name(value));
}

Result<Value> plus(const Value& value) {
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_integral()) return Value(value.as_integer());
  if (value.is_number()) return value;
  return refuse("+ cannot be applied to a {}", type_name(value));
}

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      if (item.is_undefined()) return fail_undefined(item);
      if (!item.is_string()) return refuse("only a str can be in a str, not a {}", type_name(item));
      return container.text().find(item.text()) != std::string::npos;
    case Kind::kDict: {
      METALLIC_ASSIGN(const Value* found, find(runtime, container.dict(), item));
      return found != nullptr;
    }
    default:
      return contains_item(runtime, container, item);
  }
}

}  // namespace metallic::jinja
