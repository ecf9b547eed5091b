#include "text/jinja/macro.h"

#include <algorithm>

#include "text/jinja/hash.h"

namespace metallic::jinja {
namespace {

using Keyword = std::pair<std::string, Value>;

std::optional<Value> take_keyword(std::vector<Keyword>& keywords, std::string_view name) {
  const auto at =
      std::find_if(keywords.begin(), keywords.end(), [&](const Keyword& each) { return each.first == name; });
  if (at == keywords.end()) return std::nullopt;
  Value value = std::move(at->second);
  keywords.erase(at);
  return value;
}

}  // namespace

Result<Value> MacroObject::call(Runtime& runtime, const Arguments& arguments) {
  std::string text;
  Frame frame{runtime, symbols_, root_, std::make_shared<Scope>(scope_), &text, Value()};
  METALLIC_TRY(bind(frame, arguments));
  METALLIC_TRY(execute(definition_.body, frame));
  return Value(std::move(text));
}

Status MacroObject::bind(Frame& frame, const Arguments& arguments) const {
  const auto& parameters = definition_.parameters;
  Arguments keywords{{}, arguments.keyword};
  bool found_caller = false;
  std::vector<size_t> absent;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, symbol] = parameters[i];
    found_caller = found_caller || name == "caller";
    if (i < arguments.positional.size()) {
      frame.scope->set(symbol, arguments.positional[i]);
    } else if (std::optional<Value> value = take_keyword(keywords.keyword, name)) {
      frame.scope->set(symbol, *value);
    } else {
      absent.push_back(i);
      frame.scope->set(symbol, Value::undefined(fmt::format("parameter '{}' was not provided", name)));
    }
  }
  METALLIC_TRY(bind_special(frame, arguments, std::move(keywords), found_caller));
  const size_t without_default = parameters.size() - definition_.defaults.size();
  for (const size_t i : absent) {
    if (i < without_default) continue;
    METALLIC_ASSIGN(Value value, definition_.defaults[i - without_default]->evaluate(frame));
    frame.scope->set(parameters[i].second, std::move(value));
  }
  return {};
}

Status MacroObject::bind_special(Frame& frame, const Arguments& arguments, Arguments keywords,
                                 bool found_caller) const {
  const size_t count = definition_.parameters.size();
  if (definition_.uses_caller && !found_caller) {
    std::optional<Value> caller = take_keyword(keywords.keyword, "caller");
    if (!caller || caller->is_none()) caller = Value::undefined("No caller defined");
    frame.scope->set(kCallerSymbol, std::move(*caller));
  }
  if (definition_.uses_keywords) {
    DictBuilder builder;
    for (const auto& [name, value] : keywords.keyword) builder.set(name, value);
    frame.scope->set(kKeywordSymbol, builder.finish());
  } else if (!keywords.keyword.empty()) {
    return refuse("macro '{}' has no argument '{}'", definition_.name, keywords.keyword[0].first);
  }
  const size_t used = std::min(count, arguments.positional.size());
  if (definition_.uses_variadic) {
    frame.scope->set(kVariadicSymbol,
                     Value::tuple({arguments.positional.begin() + std::ptrdiff_t(used), arguments.positional.end()}));
  } else if (arguments.positional.size() > count) {
    return refuse("macro '{}' takes at most {} arguments, not {}", definition_.name, count,
                  arguments.positional.size());
  }
  return {};
}

Result<Value> MacroObject::attribute(std::string_view name) {
  if (name == "name") return definition_.name.empty() ? Value::none() : Value(definition_.name);
  if (name == "caller") return Value(definition_.uses_caller);
  if (name == "catch_kwargs") return Value(definition_.uses_keywords);
  if (name == "catch_varargs") return Value(definition_.uses_variadic);
  if (name == "arguments") {
    ValueList names;
    for (const auto& parameter : definition_.parameters) names.emplace_back(parameter.first);
    return Value::tuple(std::move(names));
  }
  return Value();
}

void MacroObject::clear() {
  root_.reset();
  scope_.reset();
}

}  // namespace metallic::jinja
