// The expressions of a template as a tree that evaluates itself. Immutable once parsed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/scope.h"
#include "text/jinja/tests.h"

namespace metallic::jinja {

class Expression {
 public:
  explicit Expression(Position where) : position(where) {}
  virtual ~Expression() = default;

  // Counts the step, bounds the depth of evaluation and of the result, and notes where a failure came from.
  Result<Value> evaluate(Frame& frame) const;

  const Position position;

 protected:
  virtual Result<Value> compute(Frame& frame) const = 0;
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keyword;
  ExpressionPtr more_positional;  // *sequence
  ExpressionPtr more_keyword;     // **dict

  Result<Arguments> evaluate(Frame& frame) const;
};

struct Literal : Expression {
  Literal(Position where, Value constant) : Expression(where), value(std::move(constant)) {}
  Result<Value> compute(Frame&) const override { return value; }
  const Value value;
};

struct Name : Expression {
  Name(Position where, Symbol name) : Expression(where), symbol(name) {}
  Result<Value> compute(Frame& frame) const override;
  const Symbol symbol;
};

// The text that a filter block or a set block has captured.
struct Captured : Expression {
  using Expression::Expression;
  Result<Value> compute(Frame& frame) const override { return frame.captured; }
};

struct ListDisplay : Expression {
  ListDisplay(Position where, bool tuple, std::vector<ExpressionPtr> parts)
      : Expression(where), is_tuple(tuple), items(std::move(parts)) {}
  Result<Value> compute(Frame& frame) const override;
  const bool is_tuple;
  std::vector<ExpressionPtr> items;
};

struct DictDisplay : Expression {
  using Entries = std::vector<std::pair<ExpressionPtr, ExpressionPtr>>;
  DictDisplay(Position where, Entries parts) : Expression(where), entries(std::move(parts)) {}
  Result<Value> compute(Frame& frame) const override;
  const Entries entries;
};

struct Attribute : Expression {
  Attribute(Position where, ExpressionPtr of, std::string attribute)
      : Expression(where), object(std::move(of)), name(std::move(attribute)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr object;
  const std::string name;
};

struct Item : Expression {
  Item(Position where, ExpressionPtr of, ExpressionPtr by)
      : Expression(where), object(std::move(of)), key(std::move(by)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr object, key;
};

struct Slice : Expression {
  Slice(Position where, ExpressionPtr of, ExpressionPtr from, ExpressionPtr to, ExpressionPtr by)
      : Expression(where), object(std::move(of)), start(std::move(from)), stop(std::move(to)), step(std::move(by)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr object, start, stop, step;  // the last three may be null
};

struct Call : Expression {
  Call(Position where, ExpressionPtr what, CallArguments with)
      : Expression(where), callee(std::move(what)), arguments(std::move(with)) {}
  Result<Value> compute(Frame& frame) const override;
  // `caller`, if any, is what {% call %} hands over.
  Result<Value> call_with(Frame& frame, const Value* caller) const;
  const ExpressionPtr callee;
  const CallArguments arguments;
};

struct FilterCall : Expression {
  FilterCall(Position where, ExpressionPtr of, std::string filter_name, CallArguments with)
      : Expression(where),
        subject(std::move(of)),
        name(std::move(filter_name)),
        filter(find_filter(name)),
        arguments(std::move(with)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr subject;
  const std::string name;
  const Filter* const filter;  // null for an unknown one, which only fails when it is reached
  const CallArguments arguments;
};

struct TestCall : Expression {
  TestCall(Position where, ExpressionPtr of, std::string test_name, CallArguments with)
      : Expression(where),
        subject(std::move(of)),
        name(std::move(test_name)),
        test(find_test(name)),
        arguments(std::move(with)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr subject;
  const std::string name;
  const Test* const test;  // null as above
  const CallArguments arguments;
};

enum class UnaryOperator { kNot, kNegate, kPlus };
struct Unary : Expression {
  Unary(Position where, UnaryOperator which, ExpressionPtr of) : Expression(where), op(which), operand(std::move(of)) {}
  Result<Value> compute(Frame& frame) const override;
  const UnaryOperator op;
  const ExpressionPtr operand;
};

struct Arithmetic : Expression {
  Arithmetic(Position where, Operator which, ExpressionPtr a, ExpressionPtr b)
      : Expression(where), op(which), left(std::move(a)), right(std::move(b)) {}
  Result<Value> compute(Frame& frame) const override;
  const Operator op;
  const ExpressionPtr left, right;
};

struct Logical : Expression {  // and, or: one of the operands is the result
  Logical(Position where, bool is_or, ExpressionPtr a, ExpressionPtr b)
      : Expression(where), stops_at(is_or), left(std::move(a)), right(std::move(b)) {}
  Result<Value> compute(Frame& frame) const override;
  const bool stops_at;  // the truth of `left` that makes it the result
  const ExpressionPtr left, right;
};

struct Comparison : Expression {  // a < b <= c
  using Chain = std::vector<std::pair<Operator, ExpressionPtr>>;
  Comparison(Position where, ExpressionPtr a, Chain others)
      : Expression(where), first(std::move(a)), rest(std::move(others)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr first;
  const Chain rest;
};

struct Concatenation : Expression {  // a ~ b ~ c
  Concatenation(Position where, std::vector<ExpressionPtr> texts) : Expression(where), parts(std::move(texts)) {}
  Result<Value> compute(Frame& frame) const override;
  const std::vector<ExpressionPtr> parts;
};

struct Conditional : Expression {  // a if test else b
  Conditional(Position where, ExpressionPtr when, ExpressionPtr a, ExpressionPtr b)
      : Expression(where), test(std::move(when)), then(std::move(a)), otherwise(std::move(b)) {}
  Result<Value> compute(Frame& frame) const override;
  const ExpressionPtr test, then, otherwise;  // the last may be null
};

}  // namespace metallic::jinja
