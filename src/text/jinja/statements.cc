#include "text/jinja/statements.h"

#include "text/jinja/access.h"
#include "text/jinja/functions.h"
#include "text/jinja/loop.h"
#include "text/jinja/macro.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

// Makes a macro that sees the variables of `frame`.
Value make_macro(const MacroDefinition& definition, Frame& frame) {
  auto macro = std::make_shared<MacroObject>(definition, frame);
  frame.runtime.keep(macro);
  return Value(std::move(macro));
}

}  // namespace

Result<Flow> Statement::execute(Frame& frame) const {
  const DepthGuard guard(frame.runtime);
  Status allowed = frame.runtime.spend_steps(1);
  if (allowed) allowed = guard.check();
  Result<Flow> result = allowed ? run(frame) : tl::unexpected<Error>(std::move(allowed.error()));
  if (result && frame.out->size() > frame.runtime.limits.output_bytes) {
    result = fail(ErrorCode::kOutOfRange, "the template writes more than {} bytes", frame.runtime.limits.output_bytes);
  }
  if (!result && frame.runtime.failed_at.line == 0) frame.runtime.failed_at = position;
  return result;
}

Result<Flow> execute(const Body& body, Frame& frame) {
  for (const StatementPtr& statement : body) {
    METALLIC_ASSIGN(const Flow flow, statement->execute(frame));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Status Target::assign(Frame& frame, const Value& value) const {
  if (kind == Kind::kName) return frame.set(symbol, value);
  if (kind == Kind::kAttribute) {
    METALLIC_ASSIGN(const Value* found, frame.find(symbol));
    auto* space = found && found->is(jinja::Kind::kHost) ? dynamic_cast<NamespaceObject*>(&found->host()) : nullptr;
    if (!space) return refuse("'{}' is no namespace, so '{}' cannot be set", frame.symbols.name(symbol), attribute);
    METALLIC_TRY(frame.runtime.spend_steps(space->size() / 16));
    space->set(attribute, value);
    return {};
  }
  METALLIC_ASSIGN(const SharedList items, iterate(frame.runtime, value));
  if (items->size() != parts.size()) {
    return refuse("{} values cannot be unpacked into {} names", items->size(), parts.size());
  }
  for (size_t i = 0; i < parts.size(); ++i) METALLIC_TRY(parts[i].assign(frame, (*items)[i]));
  return {};
}

Result<Flow> Text::run(Frame& frame) const {
  METALLIC_TRY(frame.runtime.spend_bytes(text.size()));
  *frame.out += text;
  return Flow::kNormal;
}

Result<Flow> Print::run(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, expression->evaluate(frame));
  METALLIC_TRY(append_text(frame.runtime, value, *frame.out));
  return Flow::kNormal;
}

Result<Flow> If::run(Frame& frame) const {
  for (const Branch& branch : branches) {
    bool holds = true;
    if (branch.test) {
      METALLIC_ASSIGN(const Value value, branch.test->evaluate(frame));
      holds = truth(value);
    }
    if (holds) return jinja::execute(branch.body, frame);
  }
  return Flow::kNormal;
}

Result<Flow> For::run(Frame& frame) const {
  METALLIC_ASSIGN(const Value value, items->evaluate(frame));
  return loop(frame, value, 0);
}

Result<Flow> For::loop(Frame& frame, const Value& values, int depth) const {
  METALLIC_ASSIGN(SharedList source, iterate(frame.runtime, values));
  const auto state = std::make_shared<LoopObject>(*this, frame, std::move(source), depth);
  bool finished_none = true;  // as jinja: an iteration that breaks off does not count
  while (true) {
    METALLIC_ASSIGN(const bool more, state->advance());
    if (!more) break;
    Frame inner = frame.inner();
    METALLIC_TRY(target.assign(inner, state->current()));
    inner.scope->set(kLoopSymbol, Value(state));
    METALLIC_ASSIGN(const Flow flow, jinja::execute(body, inner));
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNormal) finished_none = false;
  }
  if (!finished_none || otherwise.empty()) return Flow::kNormal;
  Frame inner = frame.inner();
  return jinja::execute(otherwise, inner);
}

Result<Flow> Set::run(Frame& frame) const {
  METALLIC_ASSIGN(const Value result, value->evaluate(frame));
  METALLIC_TRY(target.assign(frame, result));
  return Flow::kNormal;
}

Result<Flow> SetBlock::run(Frame& frame) const {
  std::string text;
  Frame inner = frame.inner(text);
  METALLIC_ASSIGN(const Flow flow, jinja::execute(body, inner));
  if (flow != Flow::kNormal) return flow;
  inner.captured = Value(std::move(text));
  Value result = inner.captured;
  if (filter) {
    METALLIC_ASSIGN(result, filter->evaluate(inner));
  }
  METALLIC_TRY(target.assign(frame, result));
  return Flow::kNormal;
}

Result<Flow> FilterBlock::run(Frame& frame) const {
  std::string text;
  Frame inner = frame.inner(text);
  METALLIC_ASSIGN(const Flow flow, jinja::execute(body, inner));
  if (flow != Flow::kNormal) return flow;
  inner.captured = Value(std::move(text));
  METALLIC_ASSIGN(const Value result, filter->evaluate(inner));
  METALLIC_TRY(append_text(frame.runtime, result, *frame.out));
  return Flow::kNormal;
}

Result<Flow> ScopedBlock::run(Frame& frame) const {
  Frame inner = frame.inner();
  if (at_root) inner.scope = std::make_shared<Scope>(frame.root);
  for (const auto& [target, expression] : variables) {
    METALLIC_ASSIGN(const Value value, expression->evaluate(frame));
    METALLIC_TRY(target.assign(inner, value));
  }
  return jinja::execute(body, inner);
}

Result<Flow> Macro::run(Frame& frame) const {
  METALLIC_TRY(frame.set(symbol, make_macro(definition, frame)));
  return Flow::kNormal;
}

Result<Flow> CallBlock::run(Frame& frame) const {
  const Value macro = make_macro(caller, frame);
  METALLIC_ASSIGN(const Value result, call->call_with(frame, &macro));
  METALLIC_TRY(append_text(frame.runtime, result, *frame.out));
  return Flow::kNormal;
}

}  // namespace metallic::jinja
