#include "text/jinja/methods.h"

#include <algorithm>

namespace metallic::jinja {
namespace {

class BoundMethod : public HostObject {
 public:
  BoundMethod(Value self, const Method& method)
      : HostObject(self.depth() + 1), self_(std::move(self)), method_(method) {}
  std::string_view type_name() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Result<Value> call(Runtime& runtime, const Arguments& arguments) override {
    METALLIC_TRY(runtime.spend_steps(1));
    return method_.call(runtime, self_, arguments);
  }

 private:
  const Value self_;
  const Method& method_;
};

using Names = std::span<const std::string_view>;
constexpr std::string_view kMutatesList[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
constexpr std::string_view kMutatesDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kUnsupportedOfString[] = {"encode", "maketrans", "translate"};
constexpr std::string_view kUnsupportedOfDict[] = {"fromkeys"};
constexpr std::string_view kUnsupportedOfNumber[] = {"as_integer_ratio", "conjugate", "from_bytes",
                                                     "fromhex",          "hex",       "to_bytes"};
constexpr std::string_view kUnsupportedOfView[] = {"isdisjoint", "mapping"};

Names mutating_names(Kind kind) {
  if (kind == Kind::kList) return kMutatesList;
  return kind == Kind::kDict ? Names(kMutatesDict) : Names();
}

Names unsupported_names(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return kUnsupportedOfString;
    case Kind::kDict:
      return kUnsupportedOfDict;
    case Kind::kDictView:
      return kUnsupportedOfView;
    case Kind::kBool:
    case Kind::kInteger:
    case Kind::kFloat:
      return kUnsupportedOfNumber;
    default:
      return {};
  }
}

std::span<const Method> methods_of(Kind kind) {
  if (kind == Kind::kString) return string_methods();
  const std::span<const Method> found = container_methods(kind);
  return found.empty() ? number_methods(kind) : found;
}

bool has(Names names, std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); }

std::optional<Value> plain_attribute(const Value& value, std::string_view name) {
  if (value.is(Kind::kRange)) {
    if (name == "start") return Value(value.range().start);
    if (name == "stop") return Value(value.range().stop);
    if (name == "step") return Value(value.range().step);
  }
  if (value.is_integral()) {
    if (name == "real" || name == "numerator") return Value(value.as_integer());
    if (name == "imag") return Value(0);
    if (name == "denominator") return Value(1);
  }
  if (value.is(Kind::kFloat)) {
    if (name == "real") return value;
    if (name == "imag") return Value(0.0);
  }
  if (value.is(Kind::kTuple) && static_cast<const SequenceObject*>(value.object())->group) {
    if (name == "grouper") return value.items()[0];
    if (name == "list") return value.items()[1];
  }
  return std::nullopt;
}

}  // namespace

Result<std::optional<Value>> find_method(const Value& value, std::string_view name) {
  const Kind kind = value.kind();
  for (const Method& method : methods_of(kind)) {
    if (name == method.name) return Value(std::make_shared<BoundMethod>(value, method));
  }
  if (has(mutating_names(kind), name)) {
    return Value::undefined(
        fmt::format("'{}' would change a {}, and templates may not change values", name, type_name(value)));
  }
  if (has(unsupported_names(kind), name)) {
    return fail(ErrorCode::kUnsupported, "Python's {}.{} is not supported in templates", type_name(value), name);
  }
  return plain_attribute(value, name);
}

}  // namespace metallic::jinja
