// The filters of text. What is not a string is made one first, as str() does.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/hash.h"
#include "text/jinja/methods.h"
#include "text/jinja/parameters.h"
#include "text/jinja/percent_format.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode_text.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

// markupsafe's soft_str: a string stays what it is.
Result<Value> as_string(Runtime& runtime, const Value& value) {
  if (value.is_string()) return value;
  METALLIC_ASSIGN(std::string text, to_text(runtime, value));
  return Value(std::move(text));
}

Result<Value> as_string_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("string", arguments, {}));
  return as_string(runtime, value);
}

Result<Value> call_method(Runtime& runtime, const Value& value, std::string_view name, const Arguments& arguments) {
  METALLIC_ASSIGN(const Value text, as_string(runtime, value));
  for (const Method& method : string_methods()) {
    if (name == method.name) return method.call(runtime, text, arguments);
  }
  return refuse("a str has no method {}", name);
}

Result<Value> lower(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return call_method(runtime, value, "lower", arguments);
}
Result<Value> upper(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return call_method(runtime, value, "upper", arguments);
}
Result<Value> capitalize(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return call_method(runtime, value, "capitalize", arguments);
}

Result<Value> trim(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("trim", arguments, {"chars"}));
  return call_method(runtime, value, "strip", {{parameters.or_else(0, Value::none())}, {}});
}

Result<Value> center(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("center", arguments, {"width"}));
  return call_method(runtime, value, "center", {{parameters.or_else(0, Value(80))}, {}});
}

// Words start after white space and any of - ( { [ <.
Result<Value> title(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("title", arguments, {}));
  METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
  const auto separates = [](uint32_t c) {
    return is_space(c) || (c < 0x80 && std::string_view("-({[<").find(char(c)) != std::string_view::npos);
  };
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    std::string_view after = rest;
    const bool separator = separates(take_code_point(after));
    const size_t first = rest.size() - after.size();
    size_t end = first;
    while (!after.empty() && separates(take_code_point(after)) == separator) end = rest.size() - after.size();
    out += separator ? std::string(rest.substr(0, first)) : to_upper(rest.substr(0, first));
    out += to_lower(rest.substr(first, end - first));
    rest.remove_prefix(end);
  }
  return Value(std::move(out));
}

Result<Value> replace_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("replace", arguments, {"old", "new", "count"}, 2));
  METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
  METALLIC_ASSIGN(const std::string old, to_text(runtime, parameters.at(0)));
  METALLIC_ASSIGN(const std::string with, to_text(runtime, parameters.at(1)));
  Integer count = -1;
  if (parameters.given_some(2)) {
    METALLIC_ASSIGN(count, parameters.integer(2));
  }
  METALLIC_ASSIGN(std::string out, replace(runtime, text, old, with, count));
  return Value(std::move(out));
}

Result<Value> escape(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("escape", arguments, {}));
  if (value.is_markup()) return value;
  METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
  return Value::markup(escape_html(text));
}

Result<Value> forceescape(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("forceescape", arguments, {}));
  METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
  return Value::markup(escape_html(text));
}

Result<Value> safe(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("safe", arguments, {}));
  METALLIC_ASSIGN(std::string text, to_text(runtime, value));
  return Value::markup(std::move(text));
}

Result<Value> format(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keyword.empty()) {
    return refuse("format takes arguments by position or by name, not both");
  }
  METALLIC_ASSIGN(const Value text, as_string(runtime, value));
  if (arguments.keyword.empty()) return percent_format(runtime, text, Value::tuple(arguments.positional));
  DictBuilder builder;
  for (const auto& [name, argument] : arguments.keyword) builder.set(name, argument);
  return percent_format(runtime, text, builder.finish());
}

Result<Value> indent(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("indent", arguments, {"width", "first", "blank"}));
  if (value.is_undefined()) return fail_undefined(value);
  if (!value.is_string()) return refuse("indent of a {}, where it needs a string", type_name(value));
  std::string indention;
  if (parameters.given(0) && parameters.at(0).is_string()) {
    indention = parameters.at(0).text();
    if (value.is_markup() && !parameters.at(0).is_markup()) indention = escape_html(indention);
  } else {
    METALLIC_ASSIGN(const Integer width, parameters.integer_or(0, 4));
    METALLIC_ASSIGN(indention, repeat(runtime, " ", width));
  }
  const bool blank = parameters.truth_or(2, false);
  const std::string text = value.text() + "\n";  // so that the last line has an end like the others
  METALLIC_ASSIGN(const auto lines, split_lines(runtime, text, false));
  std::string out = parameters.truth_or(1, false) ? indention : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indention;
    out += lines[i];
    if (out.size() > runtime.limits.output_bytes) METALLIC_TRY(runtime.spend_bytes(out.size()));
  }
  return value.is_markup() ? Value::markup(std::move(out)) : Value(std::move(out));
}

Result<Value> truncate(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters,
                  Parameters::bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  if (value.is_undefined()) return value;
  if (!value.is_string()) return refuse("truncate of a {}, where it needs a string", type_name(value));
  METALLIC_ASSIGN(const Integer length, parameters.integer_or(0, 255));
  METALLIC_ASSIGN(const std::string_view end, parameters.text_or(2, "..."));
  Integer leeway = 5;
  if (parameters.given_some(3)) {
    METALLIC_ASSIGN(leeway, parameters.integer(3));
  }
  const Integer end_length = Integer(count_code_points(end));
  if (length < end_length || leeway < 0) return refuse("truncate to less than the length of '{}'", end);
  if (Integer(value.string().length) <= length + leeway) return value;
  std::string_view kept =
      std::string_view(value.text()).substr(0, byte_offset(value.string(), size_t(length - end_length)));
  if (!parameters.truth_or(1, false)) {
    METALLIC_ASSIGN(const auto words, split(runtime, kept, " ", 1, true));
    kept = words[0];
  }
  std::string out(kept);
  if (!value.is_markup()) return Value(out + std::string(end));
  return Value::markup(out + escape_html(end));
}

std::string quote_url(std::string_view text, bool in_query) {
  std::string out;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !in_query)) {
      out += c;
    } else if (c == ' ' && in_query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", uint8_t(c));
    }
  }
  return out;
}

Result<Value> urlencode(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("urlencode", arguments, {}));
  if (value.is_string() || !is_iterable(value)) {
    METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
    return Value(quote_url(text, false));
  }
  Value pairs = value;
  if (value.is(Kind::kDict)) {
    pairs = Value(std::make_shared<DictViewObject>(value.shared_dict(), DictViewObject::Part::kItems));
  }
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, pairs));
  std::string out;
  for (const Value& item : *items) {
    METALLIC_ASSIGN(const SharedList pair, iterate(runtime, item));
    if (pair->size() != 2) return refuse("urlencode takes pairs of a name and a value");
    METALLIC_ASSIGN(const std::string name, to_text(runtime, (*pair)[0]));
    METALLIC_ASSIGN(const std::string text, to_text(runtime, (*pair)[1]));
    if (!out.empty()) out += '&';
    out.append(quote_url(name, true)).append("=").append(quote_url(text, true));
    if (out.size() > runtime.limits.output_bytes) METALLIC_TRY(runtime.spend_bytes(out.size()));
  }
  return Value(std::move(out));
}

Result<Value> xmlattr(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("xmlattr", arguments, {"autospace"}));
  if (value.is_undefined()) return fail_undefined(value);
  if (!value.is(Kind::kDict)) return refuse("xmlattr of a {}, where it needs a dict", type_name(value));
  std::string out;
  for (const auto& [key, item] : value.dict().entries) {
    if (item.is_none() || item.is_undefined()) continue;
    if (!key.is_string() || key.text().find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      return refuse("xmlattr: a key that cannot be the name of an attribute");
    }
    METALLIC_ASSIGN(const std::string text, to_text(runtime, item));
    if (!out.empty()) out += ' ';
    out += (key.is_markup() ? key.text() : escape_html(key.text())) + "=\"";
    out += (item.is_markup() ? text : escape_html(text)) + "\"";
    if (out.size() > runtime.limits.output_bytes) METALLIC_TRY(runtime.spend_bytes(out.size()));
  }
  if (!out.empty() && parameters.truth_or(0, true)) out.insert(0, 1, ' ');
  return Value(std::move(out));
}

Result<Value> wordcount(Runtime& runtime, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("wordcount", arguments, {}));
  METALLIC_ASSIGN(const std::string text, to_text(runtime, value));
  Integer words = 0;
  bool in_word = false;
  for (std::string_view rest = text; !rest.empty();) {
    const bool word = is_word(take_code_point(rest));
    words += word && !in_word;
    in_word = word;
  }
  return Value(words);
}

constexpr Filter kFilters[] = {
    {"capitalize", capitalize},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"forceescape", forceescape},
    {"format", format},
    {"indent", indent},
    {"lower", lower},
    {"replace", replace_filter},
    {"safe", safe},
    {"string", as_string_filter},
    {"title", title},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
    {"xmlattr", xmlattr},
};

}  // namespace

std::span<const Filter> text_filters() { return kFilters; }

}  // namespace metallic::jinja
