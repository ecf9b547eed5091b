// Tokens to the tree of statements: jinja's grammar with the loopcontrols extension and transformers' generation tag.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/statements.h"

namespace metallic::jinja {

class Parser {
 public:
  Parser(std::vector<Token> tokens, SymbolTable& symbols) : tokens_(std::move(tokens)), symbols_(symbols) {}
  Result<Body> parse();

 private:
  // What surrounds the place being parsed, as far as the meaning of names and tags depends on it.
  struct Context {
    bool in_loop = false;      // break and continue are allowed
    int loops = 0;             // `loop` cannot be assigned within any
    bool conditional = false;  // directly in an if: an unknown filter fails only when it is reached
  };
  class Nested;  // one level of recursion, counted while it lives

  // Statements (parse_statements.cc).
  using EndTags = std::initializer_list<std::string_view>;
  Result<Body> parse_body(EndTags end_tags, Context context);  // ends at one of the tags, its name the current token
  Result<Body> parse_block_body(EndTags end_tags, Context context);  // the %} before it, too
  Result<StatementPtr> parse_statement();
  Result<StatementPtr> parse_plain_tag(const Token& tag);
  Result<StatementPtr> parse_for(Position position);
  Result<StatementPtr> parse_if(Position position);
  Result<StatementPtr> parse_set(Position position);
  Result<StatementPtr> parse_macro(Position position);
  Result<StatementPtr> parse_call(Position position);
  Result<StatementPtr> parse_filter_block(Position position);
  Result<StatementPtr> parse_with(Position position);
  Result<StatementPtr> parse_named_block(Position position);
  Result<StatementPtr> parse_autoescape(Position position);
  Result<StatementPtr> parse_generation(Position position);
  Result<StatementPtr> parse_print(Position position);
  Result<StatementPtr> parse_loop_control(Position position, Flow flow);
  Status parse_signature(MacroDefinition& definition);
  Status parse_macro_body(MacroDefinition& definition, std::string_view end_tag);
  Result<Target> parse_target(bool allow_attribute);
  Result<Target> parse_target_part(bool allow_attribute);
  Result<Symbol> parse_symbol();
  Context body_context() const { return {context_.in_loop, context_.loops, false}; }
  Context function_context() const { return {false, context_.loops, false}; }

  // Expressions (parse_expressions.cc), one function for each level of precedence.
  Result<ExpressionPtr> parse_expression(bool with_conditional = true);
  // One expression, or several with commas as a tuple.
  Result<ExpressionPtr> parse_tuple(bool with_conditional, bool in_parentheses);
  Result<ExpressionPtr> parse_conditional();
  Result<ExpressionPtr> parse_or();
  Result<ExpressionPtr> parse_and();
  Result<ExpressionPtr> parse_not();
  Result<ExpressionPtr> parse_comparison();
  Result<ExpressionPtr> parse_sum();
  Result<ExpressionPtr> parse_concatenation();
  Result<ExpressionPtr> parse_product();
  Result<ExpressionPtr> parse_power();
  Result<ExpressionPtr> parse_unary(bool with_filter);
  Result<ExpressionPtr> parse_primary();
  Result<ExpressionPtr> parse_list();
  Result<ExpressionPtr> parse_dict();
  Result<ExpressionPtr> parse_name();
  Result<ExpressionPtr> parse_postfix(ExpressionPtr expression);
  Result<ExpressionPtr> parse_filters_and_tests(ExpressionPtr expression);
  Result<ExpressionPtr> parse_subscript(ExpressionPtr object);
  Result<ExpressionPtr> parse_slice(ExpressionPtr object, ExpressionPtr start, Position position);
  Result<ExpressionPtr> parse_filter(ExpressionPtr subject);  // at the filter's name
  Result<ExpressionPtr> parse_filter_chain(ExpressionPtr subject);
  Result<ExpressionPtr> parse_test(ExpressionPtr subject);  // at "is"
  Result<CallArguments> parse_arguments();
  Result<std::string> parse_dotted_name();

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool take_operator(std::string_view symbol);
  bool take_name(std::string_view name);
  Status expect_operator(std::string_view symbol);
  Status expect_name(std::string_view name);
  Status expect(TokenKind kind, const char* what);
  tl::unexpected<Error> unexpected(std::string_view wanted) const;

  const std::vector<Token> tokens_;
  SymbolTable& symbols_;
  size_t at_ = 0;
  int depth_ = 0;
  Context context_;
  std::vector<MacroDefinition*> open_macros_;  // whose bodies surround this place
  std::vector<Error> unknown_;                 // filters and tests that nothing makes conditional
  std::set<std::string> block_names_;
};

// The most that expressions and statements may nest.
inline constexpr int kMaximumNesting = 120;

class Parser::Nested {
 public:
  explicit Nested(Parser& parser) : parser_(parser) { ++parser_.depth_; }
  ~Nested() { --parser_.depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;
  Status check() const {
    if (parser_.depth_ <= kMaximumNesting) return {};
    return fail_at(parser_.current().position, ErrorCode::kOutOfRange, "nested more than {} levels deep",
                   kMaximumNesting);
  }

 private:
  Parser& parser_;
};

}  // namespace metallic::jinja
