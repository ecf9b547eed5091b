#include "text/jinja/percent_format.h"

#include <cmath>
#include <cstring>

#include "text/jinja/access.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/hash.h"
#include "text/jinja/number_text.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/value_text.h"

namespace metallic::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Value& format, const Value& arguments)
      : runtime_(runtime), format_(format), arguments_(arguments), rest_(format.text()) {}

  Result<Value> run() {
    while (!rest_.empty()) {
      const size_t percent = std::min(rest_.find('%'), rest_.size());
      out_ += rest_.substr(0, percent);
      rest_.remove_prefix(percent);
      if (!rest_.empty()) METALLIC_TRY(conversion());
    }
    if (arguments_.is(Kind::kTuple) ? next_ < arguments_.items().size() : !used_ && !is_mapping()) {
      return refuse("% has more arguments than its string has conversions");
    }
    METALLIC_TRY(runtime_.spend_bytes(out_.size()));
    return format_.is_markup() ? Value::markup(std::move(out_)) : Value(std::move(out_));
  }

 private:
  // What Python takes for a mapping here: all that can be subscribed but strings and tuples.
  bool is_mapping() const {
    return arguments_.is(Kind::kDict) || arguments_.is(Kind::kList) || arguments_.is(Kind::kRange) ||
           arguments_.is_undefined();
  }

  char take() {
    if (rest_.empty()) return 0;
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }
  bool take_if(char c) { return !rest_.empty() && rest_[0] == c ? (take(), true) : false; }

  Result<Value> next_argument() {
    if (named_) return *std::exchange(named_, std::nullopt);
    if (arguments_.is(Kind::kTuple)) {
      if (next_ >= arguments_.items().size()) return refuse("% has fewer arguments than its string has conversions");
      return arguments_.items()[next_++];
    }
    if (used_) return refuse("% has fewer arguments than its string has conversions");
    used_ = true;
    return arguments_;
  }

  Status take_key() {
    size_t depth = 1;
    size_t end = 0;
    for (; end < rest_.size(); ++end) {
      depth += rest_[end] == '(' ? 1 : 0;
      if (rest_[end] == ')' && --depth == 0) break;
    }
    if (end == rest_.size()) return refuse("a %( without its )");
    if (!arguments_.is(Kind::kDict)) return refuse("%(name) needs a dict on the right of %");
    const std::string_view key = rest_.substr(0, end);
    const Value* found = arguments_.dict().find(key);
    if (!found) return refuse("the dict on the right of % has no '{}'", key);
    rest_.remove_prefix(end + 1);
    named_ = *found;
    used_ = true;
    return {};
  }

  Result<Integer> number_or_star(Integer most) {
    if (take_if('*')) {
      METALLIC_ASSIGN(const Value value, next_argument());
      if (!value.is_integral()) return refuse("* in a % format wants an integer");
      if (value.as_integer() > most || value.as_integer() < -most) return refuse("a width of a % format is too large");
      return value.as_integer();
    }
    Integer number = 0;
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
      number = number * 10 + (take() - '0');
      if (number > most) return refuse("a width or precision of a % format is too large");
    }
    return number;
  }

  Status conversion() {
    take();  // the %
    if (take_if('%')) {
      out_ += '%';
      return {};
    }
    if (take_if('(')) METALLIC_TRY(take_key());
    FormatSpec spec;
    bool left = false, zero = false;
    while (!rest_.empty() && std::strchr("-+ #0", rest_[0])) {
      const char flag = take();
      left = left || flag == '-';
      zero = zero || flag == '0';
      spec.alternate = spec.alternate || flag == '#';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    METALLIC_ASSIGN(spec.width, number_or_star(1 << 24));
    if (spec.width < 0) {
      left = true;
      spec.width = -spec.width;
    }
    if (take_if('.')) {
      METALLIC_ASSIGN(const Integer precision, number_or_star(1000));
      spec.precision = int(std::max<Integer>(precision, 0));
    }
    if (!rest_.empty() && std::strchr("hlL", rest_[0])) take();
    spec.type = take();
    spec.align = left ? '<' : '>';
    if (zero && !left && std::strchr("diuoxXeEfFgG", spec.type)) {
      spec.fill = '0';
      spec.align = '=';
    }
    return convert(spec);
  }

  Status convert(FormatSpec& spec) {
    if (spec.type == 0) return refuse("a % format ends after its %");
    METALLIC_ASSIGN(const Value value, next_argument());
    METALLIC_ASSIGN(const std::string text, formatted(value, spec));
    METALLIC_TRY(runtime_.spend_bytes(out_.size() + text.size() > runtime_.limits.output_bytes ? UINT64_MAX : 0));
    out_ += text;
    return {};
  }

  Result<std::string> formatted(const Value& value, FormatSpec& spec) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a':
        return formatted_text(value, spec);
      case 'c':
        return formatted_character(value, spec);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return formatted_integer(value, spec);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (value.is_undefined()) return fail_undefined(value);
        if (!value.is_number()) return refuse("%{} wants a number, not a {}", spec.type, type_name(value));
        return format_float(runtime_, value.as_number(), spec);
      default:
        return refuse("% knows no conversion '{}'", spec.type);
    }
  }

  Result<std::string> formatted_text(const Value& value, const FormatSpec& spec) {
    METALLIC_ASSIGN(std::string text, spec.type == 's' ? to_text(runtime_, value) : repr(runtime_, value));
    if (spec.type == 'a' && count_code_points(text) != text.size()) {
      return fail(ErrorCode::kUnsupported, "%a of text that is not ASCII is not supported");
    }
    if (format_.is_markup() && !(spec.type == 's' && value.is_markup())) text = escape_html(text);
    return format_text(runtime_, text, spec);
  }

  Result<std::string> formatted_character(const Value& value, FormatSpec& spec) {
    if (value.is_string() && value.string().length == 1) return format_text(runtime_, value.text(), spec);
    if (!value.is_integral()) return refuse("%c wants an integer or one character");
    spec.precision.reset();
    return format_integer(runtime_, value.as_integer(), spec);
  }

  Result<std::string> formatted_integer(const Value& value, FormatSpec& spec) {
    if (value.is_undefined()) return fail_undefined(value);
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (!value.is_integral() && !(decimal && value.is(Kind::kFloat))) {
      return refuse("%{} wants {}, not a {}", spec.type, decimal ? "a number" : "an integer", type_name(value));
    }
    const auto integer = value.is_integral() ? value.as_integer() : truncate_to_integer(value.as_number());
    if (!integer) return refuse("%{} of a number that no integer holds", spec.type);
    if (decimal) spec.type = 'd';
    spec.minimum_digits = spec.precision.value_or(0);
    spec.precision.reset();
    return format_integer(runtime_, *integer, spec);
  }

  Runtime& runtime_;
  const Value& format_;
  const Value& arguments_;
  std::string_view rest_;
  std::string out_;
  std::optional<Value> named_;
  size_t next_ = 0;
  bool used_ = false;
};

}  // namespace

Result<Value> percent_format(Runtime& runtime, const Value& format, const Value& arguments) {
  return PercentFormatter(runtime, format, arguments).run();
}

}  // namespace metallic::jinja
