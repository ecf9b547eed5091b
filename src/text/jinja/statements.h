// The statements of a template as a tree that runs itself. Immutable once parsed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/jinja/expressions.h"
#include "text/jinja/scope.h"

namespace metallic::jinja {

enum class Flow { kNormal, kBreak, kContinue };

class Statement {
 public:
  explicit Statement(Position where) : position(where) {}
  virtual ~Statement() = default;

  // Counts the step, bounds depth and output, and notes where a failure came from.
  Result<Flow> execute(Frame& frame) const;

  const Position position;

 protected:
  virtual Result<Flow> run(Frame& frame) const = 0;
};
using StatementPtr = std::unique_ptr<Statement>;
using Body = std::vector<StatementPtr>;

Result<Flow> execute(const Body& body, Frame& frame);

// What set and for assign to: a name, namespace.attribute, or a tuple of these.
struct Target {
  enum class Kind { kName, kAttribute, kTuple };
  Kind kind = Kind::kName;
  Symbol symbol = 0;          // of the name, or of the namespace
  std::string attribute;      // of kAttribute
  std::vector<Target> parts;  // of kTuple

  Status assign(Frame& frame, const Value& value) const;
};

struct Text : Statement {
  Text(Position where, std::string source_text) : Statement(where), text(std::move(source_text)) {}
  Result<Flow> run(Frame& frame) const override;
  const std::string text;
};

struct Print : Statement {
  Print(Position where, ExpressionPtr what) : Statement(where), expression(std::move(what)) {}
  Result<Flow> run(Frame& frame) const override;
  const ExpressionPtr expression;
};

struct If : Statement {
  struct Branch {
    ExpressionPtr test;  // null for else
    Body body;
  };
  If(Position where, std::vector<Branch> parts) : Statement(where), branches(std::move(parts)) {}
  Result<Flow> run(Frame& frame) const override;
  const std::vector<Branch> branches;
};

struct For : Statement {
  using Statement::Statement;
  Result<Flow> run(Frame& frame) const override;
  // One pass over `items`; `depth` counts recursive loops, from 0.
  Result<Flow> loop(Frame& frame, const Value& items, int depth) const;
  Target target;
  ExpressionPtr items;
  ExpressionPtr filter;  // null without one
  bool recursive = false;
  Body body, otherwise;
};

struct LoopControl : Statement {
  LoopControl(Position where, Flow what) : Statement(where), flow(what) {}
  Result<Flow> run(Frame&) const override { return flow; }
  const Flow flow;
};

struct Set : Statement {
  Set(Position where, Target to, ExpressionPtr what)
      : Statement(where), target(std::move(to)), value(std::move(what)) {}
  Result<Flow> run(Frame& frame) const override;
  const Target target;
  const ExpressionPtr value;
};

struct SetBlock : Statement {
  SetBlock(Position where, Target to, ExpressionPtr filters, Body what)
      : Statement(where), target(std::move(to)), filter(std::move(filters)), body(std::move(what)) {}
  Result<Flow> run(Frame& frame) const override;
  const Target target;
  const ExpressionPtr filter;  // of the captured text; null without one
  const Body body;
};

struct FilterBlock : Statement {
  FilterBlock(Position where, ExpressionPtr filters, Body what)
      : Statement(where), filter(std::move(filters)), body(std::move(what)) {}
  Result<Flow> run(Frame& frame) const override;
  const ExpressionPtr filter;
  const Body body;
};

// with, block, generation, autoescape false: a body with variables of its own.
struct ScopedBlock : Statement {
  ScopedBlock(Position where, bool starts_at_root) : Statement(where), at_root(starts_at_root) {}
  Result<Flow> run(Frame& frame) const override;
  const bool at_root;  // {% block %} sees only the variables of the top level
  std::vector<std::pair<Target, ExpressionPtr>> variables;
  Body body;
};

// The definition that macro and call blocks share.
struct MacroDefinition {
  std::string name;
  std::vector<std::pair<std::string, Symbol>> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool uses_caller = false, uses_keywords = false, uses_variadic = false;
  Body body;
};

struct Macro : Statement {
  using Statement::Statement;
  Result<Flow> run(Frame& frame) const override;
  Symbol symbol = 0;
  MacroDefinition definition;
};

struct CallBlock : Statement {
  using Statement::Statement;
  Result<Flow> run(Frame& frame) const override;
  MacroDefinition caller;
  std::unique_ptr<Call> call;
};

}  // namespace metallic::jinja
