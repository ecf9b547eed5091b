// The parser's statements.
#include <algorithm>

#include "text/jinja/parser.h"

namespace metallic::jinja {

bool Parser::take_operator(std::string_view symbol) {
  if (!current().is_operator(symbol)) return false;
  take();
  return true;
}

bool Parser::take_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  take();
  return true;
}

Status Parser::expect_operator(std::string_view symbol) {
  if (take_operator(symbol)) return {};
  return unexpected(fmt::format("'{}'", symbol));
}

Status Parser::expect_name(std::string_view name) {
  if (take_name(name)) return {};
  return unexpected(fmt::format("'{}'", name));
}

Status Parser::expect(TokenKind kind, const char* what) {
  if (current().kind != kind) return unexpected(what);
  take();
  return {};
}

tl::unexpected<Error> Parser::unexpected(std::string_view wanted) const {
  const Token& token = current();
  std::string found = fmt::format("'{}'", token.text);
  if (token.kind == TokenKind::kEnd) found = "the end of the template";
  if (token.kind == TokenKind::kData) found = "text";
  if (token.kind == TokenKind::kString) found = "a string";
  if (token.kind == TokenKind::kVariableBegin) found = "'{{'";
  if (token.kind == TokenKind::kVariableEnd) found = "'}}'";
  if (token.kind == TokenKind::kBlockBegin) found = "'{%'";
  if (token.kind == TokenKind::kBlockEnd) found = "'%}'";
  return fail_at(token.position, ErrorCode::kInvalidArgument, "expected {}, found {}", wanted, found);
}

Result<Body> Parser::parse() {
  METALLIC_ASSIGN(Body body, parse_body({}, Context()));
  if (!unknown_.empty()) return tl::unexpected<Error>(unknown_.front());
  return body;
}

Result<Body> Parser::parse_block_body(EndTags end_tags, Context context) {
  take_operator(":");
  METALLIC_TRY(expect(TokenKind::kBlockEnd, "'%}'"));
  return parse_body(end_tags, context);
}

Result<Body> Parser::parse_body(EndTags end_tags, Context context) {
  const Nested nested(*this);
  METALLIC_TRY(nested.check());
  const Context outer = std::exchange(context_, context);
  Body body;
  while (current().kind != TokenKind::kEnd) {
    const Token& token = take();
    if (token.kind == TokenKind::kData) {
      body.push_back(std::make_unique<Text>(token.position, token.text));
    } else if (token.kind == TokenKind::kVariableBegin) {
      METALLIC_ASSIGN(ExpressionPtr expression, parse_tuple(true, false));
      METALLIC_TRY(expect(TokenKind::kVariableEnd, "'}}'"));
      body.push_back(std::make_unique<Print>(token.position, std::move(expression)));
    } else {
      const bool ends = std::any_of(end_tags.begin(), end_tags.end(), [&](auto tag) { return current().is_name(tag); });
      if (ends) {
        context_ = outer;
        return body;
      }
      METALLIC_ASSIGN(StatementPtr statement, parse_statement());
      METALLIC_TRY(expect(TokenKind::kBlockEnd, "'%}'"));
      body.push_back(std::move(statement));
    }
  }
  if (end_tags.size() == 0) return body;
  std::string wanted;
  for (const std::string_view tag : end_tags) wanted += fmt::format("{}{{% {} %}}", wanted.empty() ? "" : " or ", tag);
  return unexpected(wanted);
}

Result<StatementPtr> Parser::parse_statement() {
  const Token& tag = current();
  if (tag.kind != TokenKind::kName) return unexpected("the name of a tag");
  take();
  if (tag.text == "for") return parse_for(tag.position);
  if (tag.text == "if") return parse_if(tag.position);
  if (tag.text == "set") return parse_set(tag.position);
  if (tag.text == "macro") return parse_macro(tag.position);
  if (tag.text == "call") return parse_call(tag.position);
  if (tag.text == "filter") return parse_filter_block(tag.position);
  if (tag.text == "with") return parse_with(tag.position);
  if (tag.text == "block") return parse_named_block(tag.position);
  if (tag.text == "autoescape") return parse_autoescape(tag.position);
  if (tag.text == "generation") return parse_generation(tag.position);
  if (tag.text == "print") return parse_print(tag.position);
  if (tag.text == "break") return parse_loop_control(tag.position, Flow::kBreak);
  if (tag.text == "continue") return parse_loop_control(tag.position, Flow::kContinue);
  for (const std::string_view other : {"include", "import", "from", "extends"}) {
    if (tag.text == other) {
      return fail_at(tag.position, ErrorCode::kUnsupported,
                     "{{% {} %}} reads other templates, and a chat template stands alone", other);
    }
  }
  return fail_at(tag.position, ErrorCode::kInvalidArgument, "unknown tag '{}', or one without its beginning", tag.text);
}

Result<StatementPtr> Parser::parse_for(Position position) {
  auto loop = std::make_unique<For>(position);
  ++context_.loops;
  METALLIC_ASSIGN(loop->target, parse_target(false));
  METALLIC_TRY(expect_name("in"));
  METALLIC_ASSIGN(loop->items, parse_tuple(false, false));
  if (take_name("if")) {
    const bool outer = std::exchange(context_.conditional, false);
    METALLIC_ASSIGN(loop->filter, parse_expression());
    context_.conditional = outer;
  }
  loop->recursive = take_name("recursive");
  Context inside = body_context();
  inside.in_loop = true;
  METALLIC_ASSIGN(loop->body, parse_block_body({"endfor", "else"}, inside));
  if (take().text == "else") {
    inside.in_loop = !loop->recursive && context_.in_loop;
    METALLIC_ASSIGN(loop->otherwise, parse_block_body({"endfor"}, inside));
    take();
  }
  --context_.loops;
  return StatementPtr(std::move(loop));
}

Result<StatementPtr> Parser::parse_if(Position position) {
  std::vector<If::Branch> branches;
  Context inside = context_;
  inside.conditional = true;
  while (true) {
    If::Branch branch;
    const Context outer = std::exchange(context_, inside);
    METALLIC_ASSIGN(branch.test, parse_tuple(false, false));
    context_ = outer;
    METALLIC_ASSIGN(branch.body, parse_block_body({"elif", "else", "endif"}, inside));
    branches.push_back(std::move(branch));
    const std::string& end = take().text;
    if (end == "elif") continue;
    if (end == "else") {
      METALLIC_ASSIGN(Body body, parse_block_body({"endif"}, inside));
      branches.push_back({nullptr, std::move(body)});
      take();
    }
    return StatementPtr(std::make_unique<If>(position, std::move(branches)));
  }
}

Result<StatementPtr> Parser::parse_set(Position position) {
  METALLIC_ASSIGN(Target target, parse_target(true));
  if (take_operator("=")) {
    METALLIC_ASSIGN(ExpressionPtr value, parse_tuple(true, false));
    return StatementPtr(std::make_unique<Set>(position, std::move(target), std::move(value)));
  }
  const bool outer = std::exchange(context_.conditional, false);
  ExpressionPtr filter;
  if (current().is_operator("|")) {
    METALLIC_ASSIGN(filter, parse_filter_chain(std::make_unique<Captured>(position)));
  }
  context_.conditional = outer;
  METALLIC_ASSIGN(Body body, parse_block_body({"endset"}, body_context()));
  take();
  return StatementPtr(std::make_unique<SetBlock>(position, std::move(target), std::move(filter), std::move(body)));
}

// A name or a tuple of targets.
Result<Target> Parser::parse_target(bool allow_attribute) {
  const Nested nested(*this);
  METALLIC_TRY(nested.check());
  Target tuple;
  tuple.kind = Target::Kind::kTuple;
  bool is_tuple = false;
  const auto at_end = [&] { return current().kind == TokenKind::kBlockEnd || current().is_operator(")"); };
  while (!at_end()) {
    METALLIC_ASSIGN(Target part, parse_target_part(allow_attribute));
    tuple.parts.push_back(std::move(part));
    if (!take_operator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return tuple;
  if (tuple.parts.empty()) return unexpected("a name to assign to");
  return std::move(tuple.parts[0]);
}

Result<Target> Parser::parse_target_part(bool allow_attribute) {
  if (take_operator("(")) {
    METALLIC_ASSIGN(Target inner, parse_target(false));
    METALLIC_TRY(expect_operator(")"));
    return inner;
  }
  Target target;
  if (allow_attribute && current().kind == TokenKind::kName && ahead().is_operator(".")) {
    target.kind = Target::Kind::kAttribute;
    target.symbol = symbols_.add(take().text);
    take();
    target.attribute = current().text;
    METALLIC_TRY(expect(TokenKind::kName, "the name of an attribute"));
    return target;
  }
  METALLIC_ASSIGN(target.symbol, parse_symbol());
  return target;
}

Result<Symbol> Parser::parse_symbol() {
  const Token& token = current();
  METALLIC_TRY(expect(TokenKind::kName, "a name to assign to"));
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (token.text == constant) {
      return fail_at(token.position, ErrorCode::kInvalidArgument, "'{}' cannot be assigned to", constant);
    }
  }
  if (token.text == "loop" && context_.loops > 0) {
    return fail_at(token.position, ErrorCode::kInvalidArgument, "'loop' cannot be assigned to within a loop");
  }
  return symbols_.add(token.text);
}

Status Parser::parse_signature(MacroDefinition& definition) {
  METALLIC_TRY(expect_operator("("));
  while (!current().is_operator(")")) {
    if (!definition.parameters.empty()) METALLIC_TRY(expect_operator(","));
    const std::string& name = current().text;
    const int loops = std::exchange(context_.loops, 0);
    METALLIC_ASSIGN(const Symbol symbol, parse_symbol());
    context_.loops = loops;
    for (const auto& parameter : definition.parameters) {
      if (parameter.first == name) return unexpected(fmt::format("the parameter '{}' only once, before this", name));
    }
    definition.parameters.emplace_back(name, symbol);
    if (take_operator("=")) {
      METALLIC_ASSIGN(ExpressionPtr fallback, parse_expression());
      definition.defaults.push_back(std::move(fallback));
    } else if (!definition.defaults.empty()) {
      return unexpected("a default, as for the parameter before");
    }
  }
  return expect_operator(")");
}

Status Parser::parse_macro_body(MacroDefinition& definition, std::string_view end_tag) {
  const Position position = current().position;
  open_macros_.push_back(&definition);
  METALLIC_ASSIGN(definition.body, parse_block_body({end_tag}, function_context()));
  open_macros_.pop_back();
  take();
  const size_t without_default = definition.parameters.size() - definition.defaults.size();
  for (size_t i = 0; i < definition.parameters.size(); ++i) {
    const std::string& name = definition.parameters[i].first;
    if (name == "caller" && definition.uses_caller && i < without_default) {
      return fail_at(position, ErrorCode::kInvalidArgument,
                     "the parameter 'caller' needs a default or must be left out");
    }
    if (name == "kwargs") definition.uses_keywords = false;
    if (name == "varargs") definition.uses_variadic = false;
  }
  return {};
}

Result<StatementPtr> Parser::parse_macro(Position position) {
  auto macro = std::make_unique<Macro>(position);
  macro->definition.name = current().text;
  METALLIC_ASSIGN(macro->symbol, parse_symbol());
  const bool outer = std::exchange(context_.conditional, false);
  METALLIC_TRY(parse_signature(macro->definition));
  context_.conditional = outer;
  METALLIC_TRY(parse_macro_body(macro->definition, "endmacro"));
  return StatementPtr(std::move(macro));
}

Result<StatementPtr> Parser::parse_call(Position position) {
  auto block = std::make_unique<CallBlock>(position);
  block->caller.name = "caller";
  if (current().is_operator("(")) METALLIC_TRY(parse_signature(block->caller));
  METALLIC_ASSIGN(ExpressionPtr expression, parse_expression());
  auto* call = dynamic_cast<Call*>(expression.get());
  if (!call) return fail_at(position, ErrorCode::kInvalidArgument, "{{% call %}} needs a call, as in name(...)");
  expression.release();
  block->call.reset(call);
  METALLIC_TRY(parse_macro_body(block->caller, "endcall"));
  return StatementPtr(std::move(block));
}

Result<StatementPtr> Parser::parse_filter_block(Position position) {
  const bool outer = std::exchange(context_.conditional, false);
  METALLIC_ASSIGN(ExpressionPtr filter, parse_filter(std::make_unique<Captured>(position)));
  METALLIC_ASSIGN(filter, parse_filter_chain(std::move(filter)));
  context_.conditional = outer;
  METALLIC_ASSIGN(Body body, parse_block_body({"endfilter"}, body_context()));
  take();
  return StatementPtr(std::make_unique<FilterBlock>(position, std::move(filter), std::move(body)));
}

Result<StatementPtr> Parser::parse_with(Position position) {
  auto block = std::make_unique<ScopedBlock>(position, false);
  while (current().kind != TokenKind::kBlockEnd) {
    if (!block->variables.empty()) METALLIC_TRY(expect_operator(","));
    METALLIC_ASSIGN(Target target, parse_target_part(false));
    METALLIC_TRY(expect_operator("="));
    METALLIC_ASSIGN(ExpressionPtr value, parse_expression());
    block->variables.emplace_back(std::move(target), std::move(value));
  }
  METALLIC_ASSIGN(block->body, parse_block_body({"endwith"}, body_context()));
  take();
  return StatementPtr(std::move(block));
}

Result<StatementPtr> Parser::parse_named_block(Position position) {
  auto block = std::make_unique<ScopedBlock>(position, true);
  const std::string name = current().text;
  METALLIC_TRY(expect(TokenKind::kName, "the name of the block"));
  if (!block_names_.insert(name).second) {
    return fail_at(position, ErrorCode::kInvalidArgument, "the block '{}' is defined twice", name);
  }
  if (current().is_name("scoped") || current().is_name("required")) {
    return fail_at(current().position, ErrorCode::kUnsupported, "{{% block %}} takes only a name here");
  }
  METALLIC_ASSIGN(block->body, parse_block_body({"endblock"}, function_context()));
  take();
  take_name(name);
  return StatementPtr(std::move(block));
}

Result<StatementPtr> Parser::parse_autoescape(Position position) {
  auto block = std::make_unique<ScopedBlock>(position, false);
  if (!take_name("false") && !take_name("False")) {
    return fail_at(current().position, ErrorCode::kUnsupported, "prompts are not HTML: only {{% autoescape false %}}");
  }
  METALLIC_ASSIGN(block->body, parse_block_body({"endautoescape"}, body_context()));
  take();
  return StatementPtr(std::move(block));
}

// {% generation %} marks the assistant's own text for training; to a prompt it adds nothing.
Result<StatementPtr> Parser::parse_generation(Position position) {
  auto block = std::make_unique<ScopedBlock>(position, false);
  METALLIC_ASSIGN(block->body, parse_block_body({"endgeneration"}, function_context()));
  take();
  return StatementPtr(std::move(block));
}

Result<StatementPtr> Parser::parse_print(Position position) {
  std::vector<ExpressionPtr> parts;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!parts.empty()) METALLIC_TRY(expect_operator(","));
    METALLIC_ASSIGN(ExpressionPtr part, parse_expression());
    parts.push_back(std::move(part));
  }
  return StatementPtr(std::make_unique<Print>(position, std::make_unique<Concatenation>(position, std::move(parts))));
}

Result<StatementPtr> Parser::parse_loop_control(Position position, Flow flow) {
  if (!context_.in_loop) {
    return fail_at(position, ErrorCode::kInvalidArgument, "{{% {} %}} outside of a loop",
                   flow == Flow::kBreak ? "break" : "continue");
  }
  return StatementPtr(std::make_unique<LoopControl>(position, flow));
}

}  // namespace metallic::jinja
