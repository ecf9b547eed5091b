#include "text/jinja/expressions.h"

#include "text/jinja/access.h"
#include "text/jinja/hash.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

// What a filter or a call made counts as produced.
Status spend_result(Runtime& runtime, const Value& value) {
  return value.is_string() ? runtime.spend_bytes(value.text().size()) : Status();
}

Result<Value> evaluate_or_none(const ExpressionPtr& expression, Frame& frame) {
  return expression ? expression->evaluate(frame) : Result<Value>(Value::none());
}

Status add_more_keywords(Runtime& runtime, const Value& more, Arguments& out) {
  if (!more.is(Kind::kDict)) return refuse("** takes a dict, not a {}", type_name(more));
  METALLIC_TRY(runtime.spend_items(more.dict().entries.size()));
  for (const auto& [key, value] : more.dict().entries) {
    if (!key.is_string()) return refuse("the keys of a ** dict must be strings");
    METALLIC_TRY(runtime.spend_steps(out.keyword.size()));
    for (const auto& [name, given] : out.keyword) {
      if (name == key.text()) return refuse("two values for the argument '{}'", name);
    }
    out.keyword.emplace_back(key.text(), value);
  }
  return {};
}

}  // namespace

Result<Value> Expression::evaluate(Frame& frame) const {
  const DepthGuard guard(frame.runtime);
  Status allowed = frame.runtime.spend_steps(1);
  if (allowed) allowed = guard.check();
  Result<Value> result = allowed ? compute(frame) : tl::unexpected<Error>(std::move(allowed.error()));
  if (result && result->depth() > kMaximumValueDepth) {
    result = fail(ErrorCode::kOutOfRange, "values nest more than {} levels deep", kMaximumValueDepth);
  }
  if (!result && frame.runtime.failed_at.line == 0) frame.runtime.failed_at = position;
  return result;
}

Result<Arguments> CallArguments::evaluate(Frame& frame) const {
  Arguments out;
  out.positional.reserve(positional.size());
  for (const ExpressionPtr& argument : positional) {
    METALLIC_ASSIGN(Value value, argument->evaluate(frame));
    out.positional.push_back(std::move(value));
  }
  if (more_positional) {
    METALLIC_ASSIGN(const Value more, more_positional->evaluate(frame));
    METALLIC_ASSIGN(const SharedList items, iterate(frame.runtime, more));
    out.positional.insert(out.positional.end(), items->begin(), items->end());
  }
  for (const auto& [name, argument] : keyword) {
    METALLIC_ASSIGN(Value value, argument->evaluate(frame));
    out.keyword.emplace_back(name, std::move(value));
  }
  if (more_keyword) {
    METALLIC_ASSIGN(const Value more, more_keyword->evaluate(frame));
    METALLIC_TRY(add_more_keywords(frame.runtime, more, out));
  }
  return out;
}

Result<Value> Name::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value* value, frame.find(symbol));
  if (value) return *value;
  return Value::undefined(fmt::format("'{}' is undefined", frame.symbols.name(symbol)));
}

Result<Value> ListDisplay::compute(Frame& frame) const {
  ValueList values;
  values.reserve(items.size());
  for (const ExpressionPtr& item : items) {
    METALLIC_ASSIGN(Value value, item->evaluate(frame));
    values.push_back(std::move(value));
  }
  METALLIC_TRY(frame.runtime.spend_items(values.size()));
  return is_tuple ? Value::tuple(std::move(values)) : Value::list(std::move(values));
}

Result<Value> DictDisplay::compute(Frame& frame) const {
  DictBuilder builder;
  for (const auto& [key, value] : entries) {
    METALLIC_ASSIGN(const Value key_value, key->evaluate(frame));
    METALLIC_ASSIGN(const Value value_value, value->evaluate(frame));
    METALLIC_TRY(builder.set(frame.runtime, key_value, value_value));
  }
  METALLIC_TRY(frame.runtime.spend_items(entries.size()));
  return builder.finish();
}

Result<Value> Attribute::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, object->evaluate(frame));
  return get_attribute(frame.runtime, value, name);
}

Result<Value> Item::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, object->evaluate(frame));
  METALLIC_ASSIGN(const Value index, key->evaluate(frame));
  return get_item(frame.runtime, value, index);
}

Result<Value> Slice::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, object->evaluate(frame));
  METALLIC_ASSIGN(const Value from, evaluate_or_none(start, frame));
  METALLIC_ASSIGN(const Value to, evaluate_or_none(stop, frame));
  METALLIC_ASSIGN(const Value by, evaluate_or_none(step, frame));
  return get_slice(frame.runtime, value, from, to, by);
}

Result<Value> Call::compute(Frame& frame) const { return call_with(frame, nullptr); }

Result<Value> Call::call_with(Frame& frame, const Value* caller) const {
  METALLIC_ASSIGN(const Value function, callee->evaluate(frame));
  METALLIC_ASSIGN(Arguments values, arguments.evaluate(frame));
  if (caller) values.keyword.emplace_back("caller", *caller);
  METALLIC_ASSIGN(Value result, call(frame.runtime, function, values));
  METALLIC_TRY(spend_result(frame.runtime, result));
  return result;
}

Result<Value> FilterCall::compute(Frame& frame) const {
  if (!filter) return fail_unknown_filter(name);
  METALLIC_ASSIGN(const Value value, subject->evaluate(frame));
  METALLIC_ASSIGN(const Arguments values, arguments.evaluate(frame));
  METALLIC_ASSIGN(Value result, filter->apply(frame.runtime, value, values));
  METALLIC_TRY(spend_result(frame.runtime, result));
  return result;
}

Result<Value> TestCall::compute(Frame& frame) const {
  if (!test) return fail_unknown_test(name);
  METALLIC_ASSIGN(const Value value, subject->evaluate(frame));
  METALLIC_ASSIGN(const Arguments values, arguments.evaluate(frame));
  METALLIC_ASSIGN(const bool holds, test->apply(frame.runtime, value, values));
  return Value(holds);
}

Result<Value> Unary::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, operand->evaluate(frame));
  if (op == UnaryOperator::kNot) return Value(!truth(value));
  return op == UnaryOperator::kNegate ? negate(value) : plus(value);
}

Result<Value> Arithmetic::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value a, left->evaluate(frame));
  METALLIC_ASSIGN(const Value b, right->evaluate(frame));
  return arithmetic(frame.runtime, op, a, b);
}

Result<Value> Logical::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, left->evaluate(frame));
  if (truth(value) == stops_at) return value;
  return right->evaluate(frame);
}

Result<Value> Comparison::compute(Frame& frame) const {
  METALLIC_ASSIGN(Value value, first->evaluate(frame));
  for (const auto& [op, other] : rest) {
    METALLIC_ASSIGN(Value next, other->evaluate(frame));
    METALLIC_ASSIGN(const bool holds, compare(frame.runtime, op, value, next));
    if (!holds) return Value(false);
    value = std::move(next);
  }
  return Value(true);
}

Result<Value> Concatenation::compute(Frame& frame) const {
  std::string text;
  for (const ExpressionPtr& part : parts) {
    METALLIC_ASSIGN(const Value value, part->evaluate(frame));
    METALLIC_TRY(append_text(frame.runtime, value, text));
  }
  METALLIC_TRY(frame.runtime.spend_bytes(text.size()));
  return Value(std::move(text));
}

Result<Value> Conditional::compute(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, test->evaluate(frame));
  if (truth(value)) return then->evaluate(frame);
  if (otherwise) return otherwise->evaluate(frame);
  return Value::undefined("the inline if was false and has no else");
}

}  // namespace metallic::jinja
