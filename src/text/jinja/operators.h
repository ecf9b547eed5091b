// The operators of expressions, with Python's meaning of each for every kind of value.
#pragma once

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

Result<Value> arithmetic(Runtime& runtime, Operator op, const Value& a, const Value& b);
Result<bool> compare(Runtime& runtime, Operator op, const Value& a, const Value& b);
Result<Value> negate(const Value& value);
Result<Value> plus(const Value& value);
Result<bool> contains(Runtime& runtime, const Value& container, const Value& item);

}  // namespace metallic::jinja
