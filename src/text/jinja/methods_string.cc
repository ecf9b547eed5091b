// str's methods. Results of a Markup string are Markup, and what is put into it is escaped.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/access.h"
#include "text/jinja/methods.h"
#include "text/jinja/parameters.h"
#include "text/jinja/str_format.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode_text.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

Value like(const Value& self, std::string text) {
  return self.is_markup() ? Value::markup(std::move(text)) : Value(std::move(text));
}

// What goes into the result of a method of `self`.
std::string inserted(const Value& self, std::string_view text, bool is_markup) {
  return self.is_markup() && !is_markup ? escape_html(text) : std::string(text);
}

template <std::string (*kMap)(std::string_view)>
Result<Value> mapped(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("str method", arguments, {}));
  METALLIC_TRY(runtime.spend_bytes(self.text().size()));
  return like(self, kMap(self.text()));
}

template <Side kSide>
Result<Value> stripped(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("strip", arguments, {""}));
  std::optional<std::string_view> characters;
  if (parameters.given_some(0)) {
    METALLIC_ASSIGN(characters, parameters.text(0));
  }
  const std::string_view result = strip(self.text(), characters, kSide);
  METALLIC_TRY(runtime.spend_bytes(result.size()));
  return like(self, std::string(result));
}

Value list_like(const Value& self, const std::vector<std::string_view>& parts) {
  ValueList items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(like(self, std::string(part)));
  return Value::list(std::move(items));
}

template <bool kFromRight>
Result<Value> split_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("split", arguments, {"sep", "maxsplit"}));
  std::optional<std::string_view> separator;
  if (parameters.given_some(0)) {
    METALLIC_ASSIGN(separator, parameters.text(0));
  }
  METALLIC_ASSIGN(const Integer maxsplit, parameters.integer_or(1, -1));
  METALLIC_ASSIGN(const auto parts, split(runtime, self.text(), separator, maxsplit, kFromRight));
  METALLIC_TRY(runtime.spend_bytes(self.text().size()));
  return list_like(self, parts);
}

Result<Value> splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("splitlines", arguments, {"keepends"}));
  METALLIC_ASSIGN(const auto parts, split_lines(runtime, self.text(), parameters.truth_or(0, false)));
  METALLIC_TRY(runtime.spend_bytes(self.text().size()));
  return list_like(self, parts);
}

template <bool kFromRight>
Result<Value> partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("partition", arguments, {""}, 1));
  METALLIC_ASSIGN(const std::string_view separator, parameters.text(0));
  if (separator.empty()) return refuse("partition() with an empty separator");
  const std::string& text = self.text();
  METALLIC_TRY(runtime.spend_bytes(text.size()));
  const size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  if (at == text.npos) {
    if (kFromRight) return Value::tuple({like(self, ""), like(self, ""), self});
    return Value::tuple({self, like(self, ""), like(self, "")});
  }
  return Value::tuple({like(self, text.substr(0, at)), like(self, std::string(separator)),
                       like(self, text.substr(at + separator.size()))});
}

Result<Value> join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("join", arguments, {""}, 1));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, parameters.at(0)));
  std::string out;
  for (size_t i = 0; i < items->size(); ++i) {
    const Value& item = (*items)[i];
    if (item.is_undefined()) return fail_undefined(item);
    if (!item.is_string()) return refuse("join() of a {}, where it needs strings", type_name(item));
    METALLIC_TRY(runtime.spend_bytes(self.text().size() + item.text().size()));
    if (i > 0) out += self.text();
    out += inserted(self, item.text(), item.is_markup());
    if (out.size() > runtime.limits.output_bytes) METALLIC_TRY(runtime.spend_bytes(out.size()));
  }
  return like(self, std::move(out));
}

Result<Value> replace_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("replace", arguments, {"", "", ""}, 2));
  METALLIC_ASSIGN(const std::string_view old, parameters.text(0));
  METALLIC_ASSIGN(const std::string_view with, parameters.text(1));
  METALLIC_ASSIGN(const Integer count, parameters.integer_or(2, -1));
  METALLIC_ASSIGN(std::string text,
                  replace(runtime, self.text(), old, inserted(self, with, parameters.at(1).is_markup()), count));
  return like(self, std::move(text));
}

// The bytes between the code points start and end that find, count and the like take as slice bounds. `found` is false
// where the slice lies outside (start > length).
struct Window {
  size_t first, last;
  bool valid;
};
Result<Window> window(const Value& self, const Parameters& parameters, size_t index) {
  const Value start = parameters.or_else(index, Value::none());
  const Value stop = parameters.or_else(index + 1, Value::none());
  const StringObject& text = self.string();
  METALLIC_ASSIGN(const SliceBounds bounds, resolve_slice(start, stop, Value(1), text.length));
  const bool outside = start.is_integral() && start.as_integer() > Integer(text.length);
  return Window{byte_offset(text, size_t(bounds.start)), byte_offset(text, size_t(bounds.stop)),
                !outside && bounds.start <= bounds.stop};
}

template <bool kFromRight, bool kMustExist>
Result<Value> find_in(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("find", arguments, {"", "", ""}, 1));
  METALLIC_ASSIGN(const std::string_view wanted, parameters.text(0));
  METALLIC_ASSIGN(const Window range, window(self, parameters, 1));
  size_t at = std::string::npos;
  if (range.valid) {
    const std::string_view text = std::string_view(self.text()).substr(range.first, range.last - range.first);
    at = kFromRight ? text.rfind(wanted) : text.find(wanted);
  }
  if (at != std::string::npos) {
    return Value(Integer(count_code_points(std::string_view(self.text()).substr(0, range.first + at))));
  }
  if (kMustExist) return refuse("index() of a string that is not there");
  return Value(-1);
}

Result<Value> count(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("count", arguments, {"", "", ""}, 1));
  METALLIC_ASSIGN(const std::string_view wanted, parameters.text(0));
  METALLIC_ASSIGN(const Window range, window(self, parameters, 1));
  if (!range.valid) return Value(0);
  const std::string_view text = std::string_view(self.text()).substr(range.first, range.last - range.first);
  if (wanted.empty()) return Value(Integer(count_code_points(text)) + 1);
  Integer found = 0;
  for (size_t at = text.find(wanted); at != text.npos; at = text.find(wanted, at + wanted.size())) ++found;
  return Value(found);
}

template <bool kAtEnd>
Result<Value> has_affix(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("startswith", arguments, {"", "", ""}, 1));
  METALLIC_ASSIGN(const Window range, window(self, parameters, 1));
  const Value& wanted = parameters.at(0);
  const ValueList choices = wanted.is(Kind::kTuple) ? wanted.items() : ValueList{wanted};
  for (const Value& choice : choices) {
    if (choice.is_undefined()) return fail_undefined(choice);
    if (!choice.is_string()) return refuse("startswith() and endswith() take strings, not a {}", type_name(choice));
    if (!range.valid) continue;
    const std::string_view text = std::string_view(self.text()).substr(range.first, range.last - range.first);
    if (kAtEnd ? text.ends_with(choice.text()) : text.starts_with(choice.text())) return Value(true);
  }
  return Value(false);
}

template <bool kAtEnd>
Result<Value> remove_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("removeprefix", arguments, {""}, 1));
  METALLIC_ASSIGN(const std::string_view affix, parameters.text(0));
  METALLIC_TRY(runtime.spend_bytes(self.text().size()));
  std::string_view text = self.text();
  if (kAtEnd && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!kAtEnd && text.starts_with(affix)) text.remove_prefix(affix.size());
  return like(self, std::string(text));
}

enum class Pad { kLeft, kRight, kBoth };

template <Pad kPad>
Result<Value> padded(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("center", arguments, {"", ""}, 1));
  METALLIC_ASSIGN(const Integer width, parameters.integer(0));
  METALLIC_ASSIGN(const std::string_view fill, parameters.text_or(1, " "));
  if (count_code_points(fill) != 1) return refuse("the fill of a padded string must be one character");
  const Integer missing = width - Integer(self.string().length);
  if (missing <= 0) return self;
  const Integer left = kPad == Pad::kLeft    ? missing
                       : kPad == Pad::kRight ? 0
                                             : missing / 2 + (missing & width & 1);  // as CPython rounds
  METALLIC_ASSIGN(const std::string before, repeat(runtime, fill, left));
  METALLIC_ASSIGN(const std::string after, repeat(runtime, fill, missing - left));
  METALLIC_TRY(runtime.spend_bytes(before.size() + self.text().size() + after.size()));
  return like(self, before + self.text() + after);
}

Result<Value> zfill(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("zfill", arguments, {""}, 1));
  METALLIC_ASSIGN(const Integer width, parameters.integer(0));
  METALLIC_ASSIGN(std::string zeros, repeat(runtime, "0", width - Integer(self.string().length)));
  const std::string& text = self.text();
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  METALLIC_TRY(runtime.spend_bytes(zeros.size() + text.size()));
  return like(self, text.substr(0, sign) + zeros + text.substr(sign));
}

Result<Value> expandtabs(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("expandtabs", arguments, {"tabsize"}));
  METALLIC_ASSIGN(const Integer tab, parameters.integer_or(0, 8));
  std::string out;
  Integer column = 0;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const uint32_t c = take_code_point(rest);
    if (c != '\t') {
      append_utf8(out, c);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    } else if (tab > 0) {
      METALLIC_ASSIGN(const std::string spaces, repeat(runtime, " ", tab - column % tab));
      column += tab - column % tab;
      out += spaces;
    }
  }
  METALLIC_TRY(runtime.spend_bytes(out.size()));
  return like(self, std::move(out));
}

// True for a non-empty string all of whose code points are in one of the classes.
template <CharacterClass... kClasses>
Result<Value> all_in(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("str method", arguments, {}));
  std::string_view rest = self.text();
  if (rest.empty()) return Value(false);
  while (!rest.empty()) {
    const uint32_t c = take_code_point(rest);
    if (!(is_class(c, kClasses) || ...)) return Value(false);
  }
  return Value(true);
}

Result<Value> isspace(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("isspace", arguments, {}));
  return Value(!self.text().empty() && strip(self.text(), std::nullopt).empty());
}

Result<Value> isascii(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("isascii", arguments, {}));
  return Value(self.string().is_ascii());
}

Result<Value> isidentifier(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("isidentifier", arguments, {}));
  return Value(is_identifier(self.text()));
}

Result<Value> isprintable(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (self.text().empty()) return Value(true);
  return all_in<CharacterClass::kPrintable>(runtime, self, arguments);
}

// islower, isupper: at least one letter of that case and none of another.
template <CharacterClass kWanted, CharacterClass kOther>
Result<Value> is_case(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("str method", arguments, {}));
  bool any = false;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const uint32_t c = take_code_point(rest);
    if (is_class(c, kOther) || is_class(c, CharacterClass::kTitle)) return Value(false);
    any = any || is_class(c, kWanted);
  }
  return Value(any);
}

Result<Value> istitle(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("istitle", arguments, {}));
  bool any = false;
  bool after_cased = false;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const uint32_t c = take_code_point(rest);
    const bool upper = is_class(c, CharacterClass::kUpper) || is_class(c, CharacterClass::kTitle);
    const bool lower = is_class(c, CharacterClass::kLower);
    if ((upper && after_cased) || (lower && !after_cased)) return Value(false);
    after_cased = upper || lower;
    any = any || after_cased;
  }
  return Value(any);
}

Result<Value> format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return str_format(runtime, self, arguments);
}

Result<Value> format_map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("format_map", arguments, {""}, 1));
  if (!parameters.at(0).is(Kind::kDict)) return refuse("format_map() takes a dict");
  Arguments by_name;
  for (const auto& [key, value] : parameters.at(0).dict().entries) {
    if (key.is_string()) by_name.keyword.emplace_back(key.text(), value);
  }
  return str_format(runtime, self, by_name);
}

constexpr Method kMethods[] = {
    {"capitalize", mapped<to_capitalized>},
    {"casefold", mapped<fold_case>},
    {"center", padded<Pad::kBoth>},
    {"count", count},
    {"endswith", has_affix<true>},
    {"expandtabs", expandtabs},
    {"find", find_in<false, false>},
    {"format", format},
    {"format_map", format_map},
    {"index", find_in<false, true>},
    {"isalnum",
     all_in<CharacterClass::kAlpha, CharacterClass::kDecimal, CharacterClass::kDigit, CharacterClass::kNumeric>},
    {"isalpha", all_in<CharacterClass::kAlpha>},
    {"isascii", isascii},
    {"isdecimal", all_in<CharacterClass::kDecimal>},
    {"isdigit", all_in<CharacterClass::kDigit>},
    {"isidentifier", isidentifier},
    {"islower", is_case<CharacterClass::kLower, CharacterClass::kUpper>},
    {"isnumeric", all_in<CharacterClass::kNumeric>},
    {"isprintable", isprintable},
    {"isspace", isspace},
    {"istitle", istitle},
    {"isupper", is_case<CharacterClass::kUpper, CharacterClass::kLower>},
    {"join", join},
    {"ljust", padded<Pad::kRight>},
    {"lower", mapped<to_lower>},
    {"lstrip", stripped<Side::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace_method},
    {"rfind", find_in<true, false>},
    {"rindex", find_in<true, true>},
    {"rjust", padded<Pad::kLeft>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", stripped<Side::kRight>},
    {"split", split_method<false>},
    {"splitlines", splitlines},
    {"startswith", has_affix<false>},
    {"strip", stripped<Side::kBoth>},
    {"swapcase", mapped<swap_case>},
    {"title", mapped<to_title>},
    {"upper", mapped<to_upper>},
    {"zfill", zfill},
};

}  // namespace

std::span<const Method> string_methods() { return kMethods; }

}  // namespace metallic::jinja
