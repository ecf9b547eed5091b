// The global functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#pragma once

#include <functional>
#include <string>

#include "text/jinja/runtime.h"
#include "text/jinja/scope.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

// namespace(a=1): the one thing whose attributes a template can set.
class NamespaceObject : public HostObject {
 public:
  std::string_view type_name() const override { return "Namespace"; }
  Result<Value> attribute(std::string_view name) override;
  Result<std::string> repr(Runtime& runtime) const override;
  void clear() override { attributes_.clear(); }
  void set(std::string_view name, Value value);
  size_t size() const { return attributes_.size(); }

 private:
  std::vector<std::pair<std::string, Value>> attributes_;
};

using Function = std::function<Result<Value>(Runtime& runtime, const Arguments& arguments)>;
Value make_function(std::string name, Function function);

// Puts all of them into the outermost scope.
void define_functions(SymbolTable& symbols, std::vector<std::pair<Symbol, Value>>& out);

}  // namespace metallic::jinja
