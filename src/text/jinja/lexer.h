// A template's source to tokens, as jinja splits it with trim_blocks and lstrip_blocks on: the newline after a block is
// dropped, and so is the white space between the start of a line and a block.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

enum class TokenKind {
  kData,           // text between tags
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // unescaped
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  Position position;
  Value number;  // of kInteger and kFloat

  bool is(TokenKind wanted, std::string_view wanted_text) const { return kind == wanted && text == wanted_text; }
  bool is_name(std::string_view name) const { return is(TokenKind::kName, name); }
  bool is_operator(std::string_view symbol) const { return is(TokenKind::kOperator, symbol); }
};

// Ends with a token of kind kEnd. `source` is UTF-8 (checked).
Result<std::vector<Token>> tokenize(std::string_view source);

// "line 3, column 14: message" as an error.
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail_at(Position position, ErrorCode code, fmt::format_string<Args...> format,
                                            Args&&... args) {
  return fail(code, "line {}, column {}: {}", position.line, position.column,
              fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace metallic::jinja
