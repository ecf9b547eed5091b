#include "text/jinja/lexer.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/number_text.h"
#include "text/jinja/string_literal.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode_text.h"

namespace metallic::jinja {
namespace {

// \r\n and \r become \n; one newline at the end of the source is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      out += '\n';
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) METALLIC_TRY(root());
    push(TokenKind::kEnd, "", source_.size());
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  bool starts(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }
  void skip_spaces() {
    std::string_view rest = std::string_view(source_).substr(at_);
    at_ = source_.size() - strip(rest, std::nullopt, Side::kLeft).size();
  }

  // Offsets come in increasing order (but for an error's), so that each byte is counted once.
  Position position_of(size_t offset) {
    if (offset < counted_) {
      counted_ = 0;
      here_ = {1, 1};
    }
    for (; counted_ < offset; ++counted_) {
      const char byte = source_[counted_];
      if (byte == '\n') {
        here_ = {here_.line + 1, 1};
      } else if ((uint8_t(byte) & 0xc0) != 0x80) {
        ++here_.column;
      }
    }
    return here_;
  }
  void push(TokenKind kind, std::string text, size_t offset) {
    tokens_.push_back({kind, std::move(text), position_of(offset), Value()});
  }
  void push_data(std::string_view text, size_t offset) {
    if (!text.empty()) push(TokenKind::kData, std::string(text), offset);
  }

  // The sign after {{, {% or {#, which is skipped.
  char take_sign() {
    const char sign = peek();
    if (sign != '-' && sign != '+') return 0;
    ++at_;
    return sign;
  }

  // Text before a tag, with the white space that the tag's sign or lstrip_blocks takes away.
  std::string_view stripped_before(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return strip(text, std::nullopt, Side::kRight);
    if (sign == '+' || is_variable) return text;
    const size_t line = text.rfind('\n') + 1;  // 0 where there is none
    if (line == 0 && !line_starting_) return text;
    const std::string_view tail = text.substr(line);
    return !tail.empty() && strip(tail, std::nullopt).empty() ? text.substr(0, line) : text;
  }

  // Data up to the next tag, and the tag.
  Status root() {
    const size_t start = at_;
    size_t tag = start;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == source_.npos || tag + 1 == source_.size()) {
        push_data(std::string_view(source_).substr(start), start);
        at_ = source_.size();
        return {};
      }
      const char next = source_[tag + 1];
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    const std::string_view text = std::string_view(source_).substr(start, tag - start);
    const char kind = source_[tag + 1];
    at_ = tag + 2;
    const char sign = take_sign();
    push_data(stripped_before(text, sign, kind == '{'), start);
    line_starting_ = false;
    if (kind == '#') return comment(tag);
    if (kind == '%' && take_raw_begin()) return raw(tag);
    push(kind == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "", tag);
    return inside(kind == '{', tag);
  }

  Status comment(size_t tag) {
    if (at_ == source_.size()) return {};  // as jinja: nothing is left to miss
    const size_t end = source_.find("#}", at_);
    if (end == source_.npos) return fail_at(position_of(tag), ErrorCode::kInvalidArgument, "{{# without its #}}");
    const char sign = end > at_ ? source_[end - 1] : 0;
    at_ = end + 2;
    finish_block(sign);
    return {};
  }

  // After %} or #}: the white space that -%} takes, or the newline of trim_blocks.
  void finish_block(char sign) {
    const size_t before = at_;
    if (sign == '-') {
      skip_spaces();
    } else if (sign != '+' && peek() == '\n') {
      ++at_;
    }
    line_starting_ = at_ > before && source_[at_ - 1] == '\n';
  }

  // {% raw %}: skips to the end of the tag and says yes, or leaves everything as it was.
  bool take_raw_begin() {
    const size_t before = at_;
    skip_spaces();
    if (starts("raw")) {
      at_ += 3;
      skip_spaces();
      if (starts("%}")) {
        at_ += 2;
        return true;
      }
      if (starts("-%}")) {
        at_ += 3;
        skip_spaces();
        line_starting_ = source_[at_ - 1] == '\n';
        return true;
      }
    }
    at_ = before;
    return false;
  }

  Status raw(size_t tag) {
    const size_t start = at_;
    if (start == source_.size()) return {};  // as jinja: nothing is left to miss
    for (size_t end = source_.find("{%", start); end != source_.npos; end = source_.find("{%", end + 1)) {
      at_ = end + 2;
      const char sign = take_sign();
      skip_spaces();
      if (!starts("endraw")) continue;
      at_ += 6;
      skip_spaces();
      const char closing = peek();
      if (closing == '-' || closing == '+') ++at_;
      if (!starts("%}")) continue;
      at_ += 2;
      push_data(stripped_before(std::string_view(source_).substr(start, end - start), sign, false), start);
      finish_block(closing);
      return {};
    }
    return fail_at(position_of(tag), ErrorCode::kInvalidArgument, "{{% raw %}} without its {{% endraw %}}");
  }

  // The tokens of one {{ }} or {% %}, its end included.
  Status inside(bool is_variable, size_t tag) {
    std::string open;  // brackets that wait to be closed
    while (at_ < source_.size()) {
      if (open.empty() && take_end(is_variable)) return {};
      const std::string_view rest = std::string_view(source_).substr(at_);
      std::string_view after = rest;
      if (is_space(take_code_point(after))) {
        skip_spaces();
        continue;
      }
      METALLIC_TRY(token(open));
    }
    return fail_at(position_of(tag), ErrorCode::kInvalidArgument, "{} without its {}", is_variable ? "{{" : "{%",
                   is_variable ? "}}" : "%}");
  }

  bool take_end(bool is_variable) {
    const size_t start = at_;
    const std::string_view end = is_variable ? "}}" : "%}";
    const char sign = peek() == '-' || (peek() == '+' && !is_variable) ? peek() : '\0';
    if (std::string_view(source_).substr(at_ + (sign ? 1 : 0), 2) != end) return false;
    at_ += sign ? 3 : 2;
    push(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "", start);
    if (is_variable) {
      if (sign == '-') skip_spaces();
      line_starting_ = source_[at_ - 1] == '\n';
    } else {
      finish_block(sign);
    }
    return true;
  }

  Status token(std::string& open) {
    const char c = peek();
    if (is_digit(c)) return number();
    if (c == '\'' || c == '"') return string();
    const size_t start = at_;
    std::string_view rest = std::string_view(source_).substr(at_);
    while (!rest.empty()) {
      std::string_view after = rest;
      const uint32_t code_point = take_code_point(after);
      if (!is_word(code_point) && !is_class(code_point, CharacterClass::kIdentifierContinue)) break;
      rest = after;
    }
    at_ = source_.size() - rest.size();
    if (at_ == start) return operator_token(open);
    const std::string name = source_.substr(start, at_ - start);
    if (!is_identifier(name)) {
      return fail_at(position_of(start), ErrorCode::kInvalidArgument, "'{}' is no identifier", name);
    }
    push(TokenKind::kName, name, start);
    return {};
  }

  Status operator_token(std::string& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* found =
        std::find_if(std::begin(kOperators), std::end(kOperators), [&](auto each) { return starts(each); });
    if (found == std::end(kOperators)) {
      std::string_view rest = std::string_view(source_).substr(at_);
      const std::string_view here = rest;
      take_code_point(rest);
      return fail_at(position_of(at_), ErrorCode::kInvalidArgument, "unexpected character '{}'",
                     here.substr(0, here.size() - rest.size()));
    }
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) return fail_at(position_of(at_), ErrorCode::kInvalidArgument, "unexpected '{}'", c);
      if (open.back() != c) {
        return fail_at(position_of(at_), ErrorCode::kInvalidArgument, "found '{}' where '{}' was expected", c,
                       open.back());
      }
      open.pop_back();
    }
    push(TokenKind::kOperator, std::string(*found), at_);
    at_ += found->size();
    return {};
  }

  Status string() {
    const size_t start = at_;
    const char mark = source_[at_++];
    while (at_ < source_.size() && source_[at_] != mark) at_ += source_[at_] == '\\' ? 2 : 1;
    if (at_ >= source_.size()) {
      return fail_at(position_of(start), ErrorCode::kInvalidArgument, "a string without its closing {}", mark);
    }
    auto text = unescape(std::string_view(source_).substr(start + 1, at_ - start - 1));
    if (!text) return fail_at(position_of(start), text.error().code, "{}", text.error().message);
    ++at_;
    push(TokenKind::kString, std::move(*text), start);
    return {};
  }

  // Digits with single underscores between them, from `at`: the offset after them.
  size_t digits_end(size_t at) const {
    const auto digit_at = [&](size_t i) { return i < source_.size() && is_digit(source_[i]); };
    while (digit_at(at) || (at < source_.size() && source_[at] == '_' && digit_at(at + 1))) ++at;
    return at;
  }
  // The end of a float literal at at_, or at_ if there is none.
  size_t float_end() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return at_;
    size_t end = digits_end(at_);
    bool is_float = false;
    const auto digit_at = [&](size_t i) { return i < source_.size() && is_digit(source_[i]); };
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      end = digits_end(end + 1);
      is_float = true;
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (digit_at(exponent)) {
        end = digits_end(exponent);
        is_float = true;
      }
    }
    return is_float ? end : at_;
  }
  size_t integer_end() const {
    const char second = at_ + 1 < source_.size() ? char(source_[at_ + 1] | 0x20) : '\0';
    const int base = source_[at_] != '0' ? 10 : second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 0;
    if (base == 10) return digits_end(at_);
    const auto fits = [&](size_t i) {
      if (i >= source_.size()) return false;
      const char c = char(source_[i] | 0x20);
      if (base == 16 && c >= 'a' && c <= 'f') return true;
      return source_[i] >= '0' && source_[i] < '0' + std::clamp(base, 1, 10);
    };
    size_t end = base == 0 ? at_ : at_ + 2;
    while (fits(end) || (end < source_.size() && source_[end] == '_' && fits(end + 1))) ++end;
    return end == at_ + 2 && base != 0 ? at_ + 1 : end;  // a bare 0x is a 0 and a name
  }

  Status number() {
    const size_t start = at_;
    const size_t float_stop = float_end();
    const size_t stop = float_stop > start ? float_stop : integer_end();
    const std::string text = source_.substr(start, stop - start);
    at_ = stop;
    push(float_stop > start ? TokenKind::kFloat : TokenKind::kInteger, text, start);
    if (float_stop > start) {
      tokens_.back().number = Value(parse_float(text).value_or(0));
      return {};
    }
    const auto value = parse_integer(text, 0);
    if (!value) return fail_at(position_of(start), ErrorCode::kInvalidArgument, "the number {} is too large", text);
    tokens_.back().number = Value(*value);
    return {};
  }

  const std::string source_;
  size_t at_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
  size_t counted_ = 0;
  Position here_ = {1, 1};
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  if (const size_t at = find_invalid_utf8(source); at != source.npos) {
    return refuse("it is not valid UTF-8 (byte {})", at);
  }
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace metallic::jinja
