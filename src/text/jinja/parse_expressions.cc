// The parser's expressions. A chain like a + b + c makes a tree as deep as it is long, so chains count as nesting too.
#include <algorithm>

#include "text/jinja/parser.h"

namespace metallic::jinja {
namespace {

constexpr int kMaximumChain = 400;  // of + - * / and . [] () in one expression

Status check_chain(int length, Position position) {
  if (length <= kMaximumChain) return {};
  return fail_at(position, ErrorCode::kOutOfRange, "more than {} operators in a row", kMaximumChain);
}

std::optional<Operator> operator_of(const Token& token, std::initializer_list<std::pair<const char*, Operator>> table) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  for (const auto& [symbol, op] : table) {
    if (token.text == symbol) return op;
  }
  return std::nullopt;
}

template <class T, class... Args>
ExpressionPtr make(Args&&... args) {
  return std::make_unique<T>(std::forward<Args>(args)...);
}

}  // namespace

Result<ExpressionPtr> Parser::parse_expression(bool with_conditional) {
  const Nested nested(*this);
  METALLIC_TRY(nested.check());
  return with_conditional ? parse_conditional() : parse_or();
}

Result<ExpressionPtr> Parser::parse_tuple(bool with_conditional, bool in_parentheses) {
  const Position position = current().position;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  const auto at_end = [&] {
    return current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd ||
           current().is_operator(")");
  };
  while (!at_end()) {
    METALLIC_ASSIGN(ExpressionPtr item, parse_expression(with_conditional));
    items.push_back(std::move(item));
    if (!take_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !in_parentheses) return unexpected("an expression");
  return make<ListDisplay>(position, true, std::move(items));
}

Result<ExpressionPtr> Parser::parse_conditional() {
  const Position position = current().position;
  const size_t unknown_before = unknown_.size();
  METALLIC_ASSIGN(ExpressionPtr expression, parse_or());
  for (int length = 0; take_name("if"); ++length) {
    METALLIC_TRY(check_chain(length, position));
    METALLIC_ASSIGN(ExpressionPtr test, parse_or());
    ExpressionPtr otherwise;
    if (take_name("else")) {
      const Nested nested(*this);
      METALLIC_TRY(nested.check());
      METALLIC_ASSIGN(otherwise, parse_conditional());
    }
    expression = make<Conditional>(position, std::move(test), std::move(expression), std::move(otherwise));
    unknown_.resize(unknown_before);
  }
  return expression;
}

Result<ExpressionPtr> Parser::parse_or() {
  METALLIC_ASSIGN(ExpressionPtr left, parse_and());
  for (int length = 0; current().is_name("or"); ++length) {
    const Position position = take().position;
    METALLIC_TRY(check_chain(length, position));
    METALLIC_ASSIGN(ExpressionPtr right, parse_and());
    left = make<Logical>(position, true, std::move(left), std::move(right));
  }
  return left;
}

Result<ExpressionPtr> Parser::parse_and() {
  METALLIC_ASSIGN(ExpressionPtr left, parse_not());
  for (int length = 0; current().is_name("and"); ++length) {
    const Position position = take().position;
    METALLIC_TRY(check_chain(length, position));
    METALLIC_ASSIGN(ExpressionPtr right, parse_not());
    left = make<Logical>(position, false, std::move(left), std::move(right));
  }
  return left;
}

Result<ExpressionPtr> Parser::parse_not() {
  if (!current().is_name("not")) return parse_comparison();
  const Nested nested(*this);
  METALLIC_TRY(nested.check());
  const Position position = take().position;
  METALLIC_ASSIGN(ExpressionPtr operand, parse_not());
  return make<Unary>(position, UnaryOperator::kNot, std::move(operand));
}

Result<ExpressionPtr> Parser::parse_comparison() {
  const Position position = current().position;
  METALLIC_ASSIGN(ExpressionPtr first, parse_sum());
  Comparison::Chain chain;
  while (true) {
    std::optional<Operator> op = operator_of(current(), {{"==", Operator::kEqual},
                                                         {"!=", Operator::kNotEqual},
                                                         {"<", Operator::kLess},
                                                         {"<=", Operator::kLessEqual},
                                                         {">", Operator::kGreater},
                                                         {">=", Operator::kGreaterEqual}});
    if (current().is_name("in")) op = Operator::kIn;
    if (current().is_name("not") && ahead().is_name("in")) {
      take();
      op = Operator::kNotIn;
    }
    if (!op) break;
    take();
    METALLIC_ASSIGN(ExpressionPtr next, parse_sum());
    chain.emplace_back(*op, std::move(next));
  }
  if (chain.empty()) return first;
  return make<Comparison>(position, std::move(first), std::move(chain));
}

Result<ExpressionPtr> Parser::parse_sum() {
  METALLIC_ASSIGN(ExpressionPtr left, parse_concatenation());
  for (int length = 0;; ++length) {
    const auto op = operator_of(current(), {{"+", Operator::kAdd}, {"-", Operator::kSubtract}});
    if (!op) return left;
    const Position position = take().position;
    METALLIC_TRY(check_chain(length, position));
    METALLIC_ASSIGN(ExpressionPtr right, parse_concatenation());
    left = make<Arithmetic>(position, *op, std::move(left), std::move(right));
  }
}

Result<ExpressionPtr> Parser::parse_concatenation() {
  const Position position = current().position;
  METALLIC_ASSIGN(ExpressionPtr first, parse_product());
  if (!current().is_operator("~")) return first;
  std::vector<ExpressionPtr> parts;
  parts.push_back(std::move(first));
  while (take_operator("~")) {
    METALLIC_ASSIGN(ExpressionPtr part, parse_product());
    parts.push_back(std::move(part));
  }
  return make<Concatenation>(position, std::move(parts));
}

Result<ExpressionPtr> Parser::parse_product() {
  METALLIC_ASSIGN(ExpressionPtr left, parse_power());
  for (int length = 0;; ++length) {
    const auto op = operator_of(current(), {{"*", Operator::kMultiply},
                                            {"/", Operator::kDivide},
                                            {"//", Operator::kFloorDivide},
                                            {"%", Operator::kModulo}});
    if (!op) return left;
    const Position position = take().position;
    METALLIC_TRY(check_chain(length, position));
    METALLIC_ASSIGN(ExpressionPtr right, parse_power());
    left = make<Arithmetic>(position, *op, std::move(left), std::move(right));
  }
}

Result<ExpressionPtr> Parser::parse_power() {
  METALLIC_ASSIGN(ExpressionPtr left, parse_unary(true));
  for (int length = 0; current().is_operator("**"); ++length) {
    const Position position = take().position;
    METALLIC_TRY(check_chain(length, position));
    METALLIC_ASSIGN(ExpressionPtr right, parse_unary(true));
    left = make<Arithmetic>(position, Operator::kPower, std::move(left), std::move(right));
  }
  return left;
}

Result<ExpressionPtr> Parser::parse_unary(bool with_filter) {
  const Nested nested(*this);
  METALLIC_TRY(nested.check());
  const Position position = current().position;
  ExpressionPtr expression;
  if (current().is_operator("-") || current().is_operator("+")) {
    const UnaryOperator op = take().text == "-" ? UnaryOperator::kNegate : UnaryOperator::kPlus;
    METALLIC_ASSIGN(ExpressionPtr operand, parse_unary(false));
    expression = make<Unary>(position, op, std::move(operand));
  } else {
    METALLIC_ASSIGN(expression, parse_primary());
  }
  METALLIC_ASSIGN(expression, parse_postfix(std::move(expression)));
  return with_filter ? parse_filters_and_tests(std::move(expression)) : std::move(expression);
}

Result<ExpressionPtr> Parser::parse_primary() {
  const Token& token = current();
  switch (token.kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      take();
      return make<Literal>(token.position, token.number);
    case TokenKind::kString: {
      std::string text;
      while (current().kind == TokenKind::kString) text += take().text;  // adjacent literals are one
      return make<Literal>(token.position, Value(std::move(text)));
    }
    default:
      break;
  }
  if (take_operator("(")) {
    METALLIC_ASSIGN(ExpressionPtr expression, parse_tuple(true, true));
    METALLIC_TRY(expect_operator(")"));
    return expression;
  }
  if (token.is_operator("[")) return parse_list();
  if (token.is_operator("{")) return parse_dict();
  return unexpected("an expression");
}

Result<ExpressionPtr> Parser::parse_name() {
  const Token& token = take();
  if (token.text == "true" || token.text == "True") return make<Literal>(token.position, Value(true));
  if (token.text == "false" || token.text == "False") return make<Literal>(token.position, Value(false));
  if (token.text == "none" || token.text == "None") return make<Literal>(token.position, Value::none());
  for (MacroDefinition* macro : open_macros_) {
    macro->uses_caller = macro->uses_caller || token.text == "caller";
    macro->uses_keywords = macro->uses_keywords || token.text == "kwargs";
    macro->uses_variadic = macro->uses_variadic || token.text == "varargs";
  }
  return make<Name>(token.position, symbols_.add(token.text));
}

Result<ExpressionPtr> Parser::parse_list() {
  const Position position = take().position;
  std::vector<ExpressionPtr> items;
  while (!current().is_operator("]")) {
    if (!items.empty()) METALLIC_TRY(expect_operator(","));
    if (current().is_operator("]")) break;
    METALLIC_ASSIGN(ExpressionPtr item, parse_expression());
    items.push_back(std::move(item));
  }
  METALLIC_TRY(expect_operator("]"));
  return make<ListDisplay>(position, false, std::move(items));
}

Result<ExpressionPtr> Parser::parse_dict() {
  const Position position = take().position;
  DictDisplay::Entries entries;
  while (!current().is_operator("}")) {
    if (!entries.empty()) METALLIC_TRY(expect_operator(","));
    if (current().is_operator("}")) break;
    METALLIC_ASSIGN(ExpressionPtr key, parse_expression());
    METALLIC_TRY(expect_operator(":"));
    METALLIC_ASSIGN(ExpressionPtr value, parse_expression());
    entries.emplace_back(std::move(key), std::move(value));
  }
  METALLIC_TRY(expect_operator("}"));
  return make<DictDisplay>(position, std::move(entries));
}

Result<ExpressionPtr> Parser::parse_postfix(ExpressionPtr expression) {
  for (int length = 0;; ++length) {
    METALLIC_TRY(check_chain(length, current().position));
    if (current().is_operator(".") || current().is_operator("[")) {
      METALLIC_ASSIGN(expression, parse_subscript(std::move(expression)));
    } else if (current().is_operator("(")) {
      const Position position = current().position;
      METALLIC_ASSIGN(CallArguments arguments, parse_arguments());
      expression = make<Call>(position, std::move(expression), std::move(arguments));
    } else {
      return expression;
    }
  }
}

Result<ExpressionPtr> Parser::parse_filters_and_tests(ExpressionPtr expression) {
  for (int length = 0;; ++length) {
    METALLIC_TRY(check_chain(length, current().position));
    if (current().is_operator("|")) {
      METALLIC_ASSIGN(expression, parse_filter_chain(std::move(expression)));
    } else if (current().is_name("is")) {
      METALLIC_ASSIGN(expression, parse_test(std::move(expression)));
    } else if (current().is_operator("(")) {
      const Position position = current().position;
      METALLIC_ASSIGN(CallArguments arguments, parse_arguments());
      expression = make<Call>(position, std::move(expression), std::move(arguments));
    } else {
      return expression;
    }
  }
}

Result<ExpressionPtr> Parser::parse_subscript(ExpressionPtr object) {
  const Token& token = take();
  if (token.text == ".") {
    const Token& name = current();
    if (name.kind != TokenKind::kName && name.kind != TokenKind::kInteger) return unexpected("a name or a number");
    take();
    if (name.kind == TokenKind::kName) return make<Attribute>(token.position, std::move(object), name.text);
    return make<Item>(token.position, std::move(object), make<Literal>(name.position, name.number));
  }
  ExpressionPtr key;
  if (!current().is_operator(":")) {
    if (current().is_operator("]")) {  // x[] looks up the empty tuple
      key = make<ListDisplay>(token.position, true, std::vector<ExpressionPtr>());
    } else {
      METALLIC_ASSIGN(key, parse_expression());
    }
  }
  if (current().is_operator(":")) return parse_slice(std::move(object), std::move(key), token.position);
  if (current().is_operator(",")) {
    std::vector<ExpressionPtr> keys;
    keys.push_back(std::move(key));
    while (take_operator(",")) {
      if (current().is_operator(":")) return unexpected("an index; slices of several dimensions are not supported");
      METALLIC_ASSIGN(ExpressionPtr next, parse_expression());
      keys.push_back(std::move(next));
    }
    key = make<ListDisplay>(token.position, true, std::move(keys));
  }
  METALLIC_TRY(expect_operator("]"));
  return make<Item>(token.position, std::move(object), std::move(key));
}

Result<ExpressionPtr> Parser::parse_slice(ExpressionPtr object, ExpressionPtr start, Position position) {
  METALLIC_TRY(expect_operator(":"));
  ExpressionPtr stop, step;
  const auto at_part = [&] { return !current().is_operator(":") && !current().is_operator("]"); };
  if (at_part()) {
    METALLIC_ASSIGN(stop, parse_expression());
  }
  if (take_operator(":") && at_part()) {
    METALLIC_ASSIGN(step, parse_expression());
  }
  METALLIC_TRY(expect_operator("]"));
  return make<Slice>(position, std::move(object), std::move(start), std::move(stop), std::move(step));
}

Result<std::string> Parser::parse_dotted_name() {
  std::string name = current().text;
  METALLIC_TRY(expect(TokenKind::kName, "a name"));
  while (take_operator(".")) {
    name.append(".").append(current().text);
    METALLIC_TRY(expect(TokenKind::kName, "a name"));
  }
  return name;
}

Result<ExpressionPtr> Parser::parse_filter(ExpressionPtr subject) {
  const Position position = current().position;
  METALLIC_ASSIGN(std::string name, parse_dotted_name());
  CallArguments arguments;
  if (current().is_operator("(")) {
    METALLIC_ASSIGN(arguments, parse_arguments());
  }
  if (!find_filter(name) && !context_.conditional) {
    const Error error = fail_unknown_filter(name).value();
    unknown_.push_back(fail_at(position, error.code, "{}", error.message).value());
  }
  return make<FilterCall>(position, std::move(subject), std::move(name), std::move(arguments));
}

Result<ExpressionPtr> Parser::parse_filter_chain(ExpressionPtr subject) {
  for (int length = 0; take_operator("|"); ++length) {
    METALLIC_TRY(check_chain(length, current().position));
    METALLIC_ASSIGN(subject, parse_filter(std::move(subject)));
  }
  return subject;
}

Result<ExpressionPtr> Parser::parse_test(ExpressionPtr subject) {
  const Position position = take().position;
  const bool negated = take_name("not");
  METALLIC_ASSIGN(std::string name, parse_dotted_name());
  CallArguments arguments;
  const Token& next = current();
  const bool starts_argument = next.kind == TokenKind::kName || next.kind == TokenKind::kString ||
                               next.kind == TokenKind::kInteger || next.kind == TokenKind::kFloat ||
                               next.is_operator("[") || next.is_operator("{");
  if (next.is_operator("(")) {
    METALLIC_ASSIGN(arguments, parse_arguments());
  } else if (starts_argument && !next.is_name("else") && !next.is_name("or") && !next.is_name("and")) {
    if (next.is_name("is")) return unexpected("something other than a second test");
    const Nested nested(*this);
    METALLIC_TRY(nested.check());
    METALLIC_ASSIGN(ExpressionPtr argument, parse_primary());
    METALLIC_ASSIGN(argument, parse_postfix(std::move(argument)));
    arguments.positional.push_back(std::move(argument));
  }
  if (!find_test(name) && !context_.conditional) {
    const Error error = fail_unknown_test(name).value();
    unknown_.push_back(fail_at(position, error.code, "{}", error.message).value());
  }
  ExpressionPtr test = make<TestCall>(position, std::move(subject), std::move(name), std::move(arguments));
  return negated ? make<Unary>(position, UnaryOperator::kNot, std::move(test)) : std::move(test);
}

Result<CallArguments> Parser::parse_arguments() {
  METALLIC_TRY(expect_operator("("));
  CallArguments arguments;
  bool any = false;
  while (!current().is_operator(")")) {
    if (any) METALLIC_TRY(expect_operator(","));
    if (any && current().is_operator(")")) break;
    any = true;
    const Token& token = current();
    const bool named = token.kind == TokenKind::kName && ahead().is_operator("=");
    const bool closed = arguments.more_keyword || (arguments.more_positional && !named && !token.is_operator("**"));
    if (closed || (!named && !token.is_operator("**") && !token.is_operator("*") && !arguments.keyword.empty())) {
      return unexpected("no further argument of this kind");
    }
    if (take_operator("*")) {
      METALLIC_ASSIGN(arguments.more_positional, parse_expression());
    } else if (take_operator("**")) {
      METALLIC_ASSIGN(arguments.more_keyword, parse_expression());
    } else if (named) {
      take();
      take();
      for (const auto& [name, value] : arguments.keyword) {
        if (name == token.text) return unexpected("each argument once");
      }
      METALLIC_ASSIGN(ExpressionPtr value, parse_expression());
      arguments.keyword.emplace_back(token.text, std::move(value));
    } else {
      METALLIC_ASSIGN(ExpressionPtr value, parse_expression());
      arguments.positional.push_back(std::move(value));
    }
  }
  METALLIC_TRY(expect_operator(")"));
  return arguments;
}

}  // namespace metallic::jinja
