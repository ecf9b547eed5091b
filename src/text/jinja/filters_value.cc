// The filters of any value: default, attr, tojson.
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/json_text.h"
#include "text/jinja/methods.h"
#include "text/jinja/parameters.h"
#include "text/jinja/text_ops.h"

namespace metallic::jinja {
namespace {

Result<Value> default_filter(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("default", arguments, {"default_value", "boolean"}));
  if (value.is_undefined() || (parameters.truth_or(1, false) && !truth(value))) return parameters.or_else(0, Value(""));
  return value;
}

// The attribute alone, without the entry of a dict that value.name falls back to.
Result<Value> attr(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("attr", arguments, {"name"}, 1));
  METALLIC_ASSIGN(const std::string_view name, parameters.text(0));
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is(Kind::kHost)) return value.host().attribute(name);
  METALLIC_ASSIGN(std::optional<Value> found, find_method(value, name));
  return found ? *found : Value::undefined(fmt::format("'{}' has no attribute '{}'", type_name(value), name));
}

// transformers' tojson: json.dumps with these parameters; nothing is escaped for HTML.
Result<Value> tojson(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters,
                  Parameters::bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii_only = parameters.truth_or(0, false);
  style.sort_keys = parameters.truth_or(3, false);
  if (parameters.given_some(1)) {
    style.multiline = true;
    style.item_separator = ',';
    if (parameters.at(1).is_string()) {
      style.indent = parameters.at(1).text();
    } else {
      METALLIC_ASSIGN(const Integer width, parameters.integer(1));
      METALLIC_ASSIGN(style.indent, repeat(runtime, " ", width));
    }
  }
  if (parameters.given_some(2)) {
    METALLIC_ASSIGN(const SharedList separators, iterate(runtime, parameters.at(2)));
    if (separators->size() != 2 || !(*separators)[0].is_string() || !(*separators)[1].is_string()) {
      return refuse("tojson takes two strings as separators");
    }
    style.item_separator = (*separators)[0].text();
    style.key_separator = (*separators)[1].text();
  }
  METALLIC_ASSIGN(std::string text, dump_json(runtime, value, style));
  return Value(std::move(text));
}

constexpr Filter kFilters[] = {
    {"attr", attr},
    {"d", default_filter},
    {"default", default_filter},
    {"tojson", tojson},
};

}  // namespace

std::span<const Filter> value_filters() { return kFilters; }

}  // namespace metallic::jinja
