// Variables by number, and where a statement or expression runs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

// The number of a variable's name in its template.
using Symbol = int;
inline constexpr Symbol kLoopSymbol = 0, kCallerSymbol = 1, kKeywordSymbol = 2, kVariadicSymbol = 3;

// Every name of a template once; the first four are loop, caller, kwargs and varargs.
class SymbolTable {
 public:
  SymbolTable() : names_{"loop", "caller", "kwargs", "varargs"} {
    for (size_t i = 0; i < names_.size(); ++i) symbols_.emplace(names_[i], Symbol(i));
  }
  Symbol add(const std::string& name) {
    const auto [at, added] = symbols_.emplace(name, Symbol(names_.size()));
    if (added) names_.push_back(name);
    return at->second;
  }
  std::optional<Symbol> find(const std::string& name) const {
    const auto at = symbols_.find(name);
    return at == symbols_.end() ? std::nullopt : std::optional(at->second);
  }
  const std::string& name(Symbol symbol) const { return names_[size_t(symbol)]; }

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, Symbol> symbols_;
};

// One level of variables. Reading falls through to the parent; setting does not. Macros keep the scope they are
// defined in alive.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  // `inspected` counts the variables looked at.
  const Value* find(Symbol symbol, size_t& inspected) const {
    for (const Scope* scope = this; scope; scope = scope->parent_.get()) {
      inspected += 1 + scope->variables_.size();
      for (const auto& [each, value] : scope->variables_) {
        if (each == symbol) return &value;
      }
    }
    return nullptr;
  }
  void set(Symbol symbol, Value value) {
    for (auto& [each, old] : variables_) {
      if (each == symbol) {
        old = std::move(value);
        return;
      }
    }
    variables_.emplace_back(symbol, std::move(value));
  }
  size_t size() const { return variables_.size(); }

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<Symbol, Value>> variables_;
};

struct Frame {
  Runtime& runtime;
  const SymbolTable& symbols;
  std::shared_ptr<Scope> root;  // where {% block %} starts
  std::shared_ptr<Scope> scope;
  std::string* out;  // what the template has written
  Value captured;    // the text of a filter or set block, for its filters

  // The variable, null if it is not set. Long searches count as steps.
  Result<const Value*> find(Symbol symbol) const {
    size_t inspected = 0;
    const Value* value = scope->find(symbol, inspected);
    METALLIC_TRY(runtime.spend_steps(inspected / 16));
    return value;
  }
  Status set(Symbol symbol, Value value) {
    METALLIC_TRY(runtime.spend_steps(scope->size() / 16));
    scope->set(symbol, std::move(value));
    return {};
  }
  Frame inner() const { return {runtime, symbols, root, std::make_shared<Scope>(scope), out, captured}; }
  Frame inner(std::string& capture) const {
    return {runtime, symbols, root, std::make_shared<Scope>(scope), &capture, captured};
  }
};

}  // namespace metallic::jinja
