#include "text/jinja/functions.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "text/jinja/access.h"
#include "text/jinja/hash.h"
#include "text/jinja/parameters.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

class FunctionObject : public HostObject {
 public:
  FunctionObject(std::string name, Function function) : name_(std::move(name)), function_(std::move(function)) {}
  std::string_view type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Result<Value> call(Runtime& runtime, const Arguments& arguments) override {
    METALLIC_TRY(runtime.spend_steps(1));
    return function_(runtime, arguments);
  }
  Result<std::string> repr(Runtime&) const override { return fmt::format("<function {}>", name_); }

 private:
  const std::string name_;
  const Function function_;
};

// cycler(a, b): .next() gives each in turn.
class CyclerObject : public HostObject, public std::enable_shared_from_this<CyclerObject> {
 public:
  explicit CyclerObject(Value items) : HostObject(items.depth() + 1), items_(std::move(items)) {}
  std::string_view type_name() const override { return "Cycler"; }
  Result<Value> attribute(std::string_view name) override {
    if (name == "current") return items_.items()[position_];
    if (name == "pos") return Value(Integer(position_));
    if (name == "items") return items_;
    const auto self = shared_from_this();
    if (name == "next") {
      return make_function("next", [self](Runtime&, const Arguments&) -> Result<Value> {
        const Value item = self->items_.items()[self->position_];
        self->position_ = (self->position_ + 1) % self->items_.items().size();
        return item;
      });
    }
    if (name == "reset") {
      return make_function("reset", [self](Runtime&, const Arguments&) -> Result<Value> {
        self->position_ = 0;
        return Value::none();
      });
    }
    return Value();
  }

 private:
  const Value items_;
  size_t position_ = 0;
};

// joiner(", "): empty the first time it is called, the separator from then on.
class JoinerObject : public HostObject {
 public:
  explicit JoinerObject(Value separator) : HostObject(separator.depth() + 1), separator_(std::move(separator)) {}
  std::string_view type_name() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Result<Value> call(Runtime&, const Arguments& arguments) override {
    METALLIC_TRY(Parameters::bind("joiner", arguments, {}));
    if (std::exchange(used_, true)) return separator_;
    return Value("");
  }
  Result<Value> attribute(std::string_view name) override {
    if (name == "sep") return separator_;
    return name == "used" ? Value(used_) : Value();
  }

 private:
  const Value separator_;
  bool used_ = false;
};

Result<Value> make_range(Runtime& runtime, const Arguments& arguments) {
  constexpr Integer kMost = Integer(1) << 62;
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("range", arguments, {"", "", ""}, 1));
  const bool one = arguments.positional.size() == 1;
  Integer start = 0;
  if (!one) {
    METALLIC_ASSIGN(start, parameters.integer(0));
  }
  METALLIC_ASSIGN(const Integer stop, parameters.integer(one ? 0 : 1));
  METALLIC_ASSIGN(const Integer step, parameters.integer_or(2, 1));
  if (step == 0) return refuse("range() with a step of 0");
  for (const Integer bound : {start, stop, step}) {
    if (bound > kMost || bound < -kMost) return refuse("range() with a bound beyond 62 bits");
  }
  auto range = std::make_shared<RangeObject>(start, stop, step);
  if (range->size > runtime.limits.range_items) {
    return fail(ErrorCode::kOutOfRange, "range() of more than {} items", runtime.limits.range_items);
  }
  return Value(std::move(range));
}

// dict's arguments: a mapping or pairs, then keywords. `set` gets each.
template <class Set>
Status each_entry(Runtime& runtime, const Arguments& arguments, const char* function, Set&& set) {
  if (arguments.positional.size() > 1) return refuse("{}() takes at most one argument without a name", function);
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::kDict)) {
      for (const auto& [key, value] : source.dict().entries) METALLIC_TRY(set(key, value));
    } else {
      METALLIC_ASSIGN(const SharedList pairs, iterate(runtime, source));
      for (const Value& pair : *pairs) {
        METALLIC_ASSIGN(const SharedList items, iterate(runtime, pair));
        if (items->size() != 2) return refuse("{}() takes pairs of a key and a value", function);
        METALLIC_TRY(set((*items)[0], (*items)[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.keyword) METALLIC_TRY(set(Value(name), value));
  return {};
}

Result<Value> make_dict(Runtime& runtime, const Arguments& arguments) {
  DictBuilder builder;
  const auto set = [&](const Value& key, const Value& value) { return builder.set(runtime, key, value); };
  METALLIC_TRY(each_entry(runtime, arguments, "dict", set));
  return builder.finish();
}

Result<Value> make_namespace(Runtime& runtime, const Arguments& arguments) {
  auto space = std::make_shared<NamespaceObject>();
  const auto set = [&](const Value& key, const Value& value) -> Status {
    if (!key.is_string()) return refuse("namespace() takes names for its keys");
    METALLIC_TRY(runtime.spend_steps(space->size()));
    space->set(key.text(), value);
    return {};
  };
  METALLIC_TRY(each_entry(runtime, arguments, "namespace", set));
  runtime.keep(space);
  return Value(std::move(space));
}

Result<Value> make_cycler(Runtime&, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.keyword.empty()) return refuse("cycler() takes one item or more");
  return Value(std::make_shared<CyclerObject>(Value::tuple(arguments.positional)));
}

Result<Value> make_joiner(Runtime&, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("joiner", arguments, {"sep"}));
  return Value(std::make_shared<JoinerObject>(parameters.or_else(0, Value(", "))));
}

Result<Value> raise_exception(Runtime& runtime, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("raise_exception", arguments, {"message"}, 1));
  METALLIC_ASSIGN(const std::string message, to_text(runtime, parameters.at(0)));
  return refuse("the template refuses the conversation: {}", message);
}

// %f of Python's strftime, microseconds, which C's does not know; %z and %Z of a time without a zone are empty.
std::string resolve_python_directives(std::string_view format, int64_t microseconds) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const char directive = format[++i];
    if (directive == 'f') {
      out += fmt::format("{:06}", microseconds);
    } else if (directive != 'z' && directive != 'Z') {
      out += '%';
      out += directive;
    }
  }
  return out;
}

Result<Value> strftime_now(Runtime& runtime, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("strftime_now", arguments, {"format"}, 1));
  METALLIC_ASSIGN(const std::string_view format, parameters.text(0));
  if (format.size() > 1024) return refuse("strftime_now() with a format of more than 1024 bytes");
  METALLIC_TRY(runtime.spend_bytes(format.size()));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = std::time_t(microseconds / 1'000'000);
  std::tm local{};
  localtime_r(&seconds, &local);
  // A leading character tells an empty result from one that does not fit.
  const std::string resolved = fmt::format(".{}", resolve_python_directives(format, microseconds % 1'000'000));
  std::string out(resolved.size() * 64 + 64, '\0');
  const size_t size = std::strftime(out.data(), out.size(), resolved.c_str(), &local);
  if (size == 0) return refuse("strftime_now() cannot format '{}'", format);
  return Value(out.substr(1, size - 1));
}

Result<Value> lipsum(Runtime&, const Arguments&) {
  return fail(ErrorCode::kUnsupported, "jinja's lipsum() is random, and not supported");
}

}  // namespace

Result<Value> NamespaceObject::attribute(std::string_view name) {
  if (name.starts_with('_')) return Value();
  for (const auto& [each, value] : attributes_) {
    if (each == name) return value;
  }
  return Value();
}

void NamespaceObject::set(std::string_view name, Value value) {
  for (auto& [each, old] : attributes_) {
    if (each == name) {
      old = std::move(value);
      return;
    }
  }
  attributes_.emplace_back(name, std::move(value));
}

Result<std::string> NamespaceObject::repr(Runtime& runtime) const {
  std::string out = "<Namespace {";
  for (size_t i = 0; i < attributes_.size(); ++i) {
    METALLIC_ASSIGN(const std::string value, jinja::repr(runtime, attributes_[i].second));
    out += fmt::format("{}{}: {}", i > 0 ? ", " : "", quote(attributes_[i].first), value);
    METALLIC_TRY(runtime.spend_bytes(out.size() > runtime.limits.output_bytes ? UINT64_MAX : value.size()));
  }
  return out + "}>";
}

Value make_function(std::string name, Function function) {
  return Value(std::make_shared<FunctionObject>(std::move(name), std::move(function)));
}

void define_functions(SymbolTable& symbols, std::vector<std::pair<Symbol, Value>>& out) {
  const std::pair<const char*, Function> functions[] = {
      {"range", make_range},          {"dict", make_dict},     {"namespace", make_namespace},
      {"cycler", make_cycler},        {"joiner", make_joiner}, {"raise_exception", raise_exception},
      {"strftime_now", strftime_now}, {"lipsum", lipsum},
  };
  for (const auto& [name, function] : functions) out.emplace_back(symbols.add(name), make_function(name, function));
}

}  // namespace metallic::jinja
