#include "text/jinja/str_format.h"

#include <algorithm>

#include "text/jinja/access.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/number_text.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

std::optional<Integer> as_index(std::string_view text) {
  const bool digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? parse_integer(text) : std::nullopt;
}

class StrFormatter {
 public:
  StrFormatter(Runtime& runtime, bool markup, const Arguments& arguments)
      : runtime_(runtime), markup_(markup), arguments_(arguments) {}

  // `depth` is 1 within a format specification, where fields may stand but hold no further ones.
  Result<std::string> run(std::string_view text, int depth) {
    std::string out;
    while (!text.empty()) {
      const size_t brace = std::min(text.find_first_of("{}"), text.size());
      out += text.substr(0, brace);
      text.remove_prefix(brace);
      if (text.empty()) break;
      const char c = text[0];
      if (text.size() > 1 && text[1] == c) {
        out += c;
        text.remove_prefix(2);
        continue;
      }
      if (c == '}') return refuse("a single }} in a format string");
      METALLIC_ASSIGN(const std::string_view field, take_field(text));
      if (depth > 1) return refuse("format fields nest more than two deep");
      METALLIC_ASSIGN(const std::string replaced, format_field(field, depth));
      out += replaced;
      METALLIC_TRY(runtime_.spend_bytes(out.size() > runtime_.limits.output_bytes ? UINT64_MAX : replaced.size()));
    }
    return out;
  }

 private:
  // The text between the { at the start of `text` and its }, all of which it removes.
  static Result<std::string_view> take_field(std::string_view& text) {
    int open = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '{') ++open;
      if (text[i] == '}' && --open == 0) {
        const std::string_view field = text.substr(1, i - 1);
        text.remove_prefix(i + 1);
        return field;
      }
    }
    return refuse("a {{ without its }} in a format string");
  }

  Result<std::string> format_field(std::string_view field, int depth) {
    size_t end = 0;
    while (end < field.size() && field[end] != '!' && field[end] != ':') {
      if (field[end] == '[') end = std::min(field.find(']', end), field.size() - 1);
      ++end;
    }
    METALLIC_ASSIGN(Value value, look_up(field.substr(0, end)));
    std::string_view rest = field.substr(end);
    if (rest.starts_with('!')) {
      const char conversion = rest.size() > 1 ? rest[1] : ' ';
      if (conversion != 'r' && conversion != 's') {
        return fail(ErrorCode::kUnsupported, "format strings know the conversions !r and !s, not '!{}'", conversion);
      }
      METALLIC_ASSIGN(value, (conversion == 'r' ? repr(runtime_, value) : to_text(runtime_, value)));
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') return refuse("a : must follow a conversion in a format string");
    }
    if (!rest.empty()) rest.remove_prefix(1);
    METALLIC_ASSIGN(const std::string spec, run(rest, depth + 1));
    METALLIC_ASSIGN(std::string text, format_value(runtime_, value, spec));
    return markup_ && !value.is_markup() ? escape_html(text) : text;
  }

  Result<Value> first_of(std::string_view name) {
    std::optional<Integer> index = as_index(name);
    if (name.empty()) {
      if (numbering_ == Numbering::kManual) return refuse("a format string mixes {{}} and {{0}}");
      numbering_ = Numbering::kAutomatic;
      index = next_++;
    } else if (index) {
      if (numbering_ == Numbering::kAutomatic) return refuse("a format string mixes {{}} and {{0}}");
      numbering_ = Numbering::kManual;
    }
    if (index) {
      if (*index >= Integer(arguments_.positional.size())) return refuse("a format string has too few arguments");
      return arguments_.positional[size_t(*index)];
    }
    for (const auto& [key, value] : arguments_.keyword) {
      if (key == name) return value;
    }
    return refuse("a format string has no argument '{}'", name);
  }

  // "0.name[key]"
  Result<Value> look_up(std::string_view path) {
    size_t end = std::min(path.find_first_of(".["), path.size());
    METALLIC_ASSIGN(Value value, first_of(path.substr(0, end)));
    path.remove_prefix(end);
    while (!path.empty()) {
      if (path[0] == '[') {
        end = path.find(']');
        if (end == path.npos || end == 1) return refuse("a [ without its key and ] in a format string");
        const std::string_view key = path.substr(1, end - 1);
        const std::optional<Integer> index = as_index(key);
        METALLIC_ASSIGN(value, get_item(runtime_, value, index ? Value(*index) : Value(key)));
        path.remove_prefix(end + 1);
        if (!path.empty() && path[0] != '.' && path[0] != '[')
          return refuse("only . or [ may follow ] in a format string");
      } else {
        path.remove_prefix(1);
        end = std::min(path.find_first_of(".["), path.size());
        if (end == 0) return refuse("an empty attribute in a format string");
        METALLIC_ASSIGN(value, get_attribute(runtime_, value, path.substr(0, end)));
        path.remove_prefix(end);
      }
    }
    return value;
  }

  enum class Numbering { kUnknown, kAutomatic, kManual };
  Runtime& runtime_;
  const bool markup_;
  const Arguments& arguments_;
  Numbering numbering_ = Numbering::kUnknown;
  Integer next_ = 0;
};

}  // namespace

Result<Value> str_format(Runtime& runtime, const Value& format, const Arguments& arguments) {
  StrFormatter formatter(runtime, format.is_markup(), arguments);
  METALLIC_ASSIGN(std::string text, formatter.run(format.text(), 0));
  return format.is_markup() ? Value::markup(std::move(text)) : Value(std::move(text));
}

}  // namespace metallic::jinja
