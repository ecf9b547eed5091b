// A macro, or the body of a call block, as a value that can be called.
#pragma once

#include "text/jinja/statements.h"

namespace metallic::jinja {

class MacroObject : public HostObject {
 public:
  MacroObject(const MacroDefinition& definition, const Frame& frame)
      : definition_(definition), symbols_(frame.symbols), root_(frame.root), scope_(frame.scope) {}

  std::string_view type_name() const override { return "Macro"; }
  bool callable() const override { return true; }
  Result<Value> call(Runtime& runtime, const Arguments& arguments) override;
  Result<Value> attribute(std::string_view name) override;
  void clear() override;

 private:
  // Sets the parameters in `frame`, as jinja's Macro does.
  Status bind(Frame& frame, const Arguments& arguments) const;
  Status bind_special(Frame& frame, const Arguments& arguments, Arguments keywords, bool found_caller) const;

  const MacroDefinition& definition_;
  const SymbolTable& symbols_;
  std::shared_ptr<Scope> root_, scope_;
};

}  // namespace metallic::jinja
