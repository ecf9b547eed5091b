// Chat templates: Jinja with the variables and functions that transformers gives them.
#include "base/error.h"
#include "base/utf8.h"
#include "metallic/chat.h"
#include "text/jinja/functions.h"
#include "text/jinja/hash.h"
#include "text/jinja/json_text.h"
#include "text/jinja/parser.h"

namespace metallic {
namespace {

using jinja::Value;
constexpr size_t kMaximumSourceBytes = 4u << 20;

tl::unexpected<Error> in_template(const Error& error) { return fail(error.code, "chat template: {}", error.message); }

Result<Value> message_values(std::span<const ChatMessage> messages) {
  jinja::ValueList list;
  for (size_t i = 0; i < messages.size(); ++i) {
    for (const std::string& text : {messages[i].role, messages[i].content}) {
      if (const size_t at = find_invalid_utf8(text); at != text.npos) {
        return fail(ErrorCode::kInvalidArgument, "message {} is not valid UTF-8 at byte {}", i + 1, at);
      }
    }
    jinja::DictBuilder message;
    message.set("role", Value(messages[i].role));
    message.set("content", Value(messages[i].content));
    list.push_back(message.finish());
  }
  return Value::list(std::move(list));
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::SymbolTable symbols;
  std::vector<std::pair<jinja::Symbol, Value>> functions;
  jinja::Body body;

  Result<std::string> render(Value messages, const ChatOptions& options);
  Status define(jinja::Scope& scope, Value messages, const ChatOptions& options);
  void set(jinja::Scope& scope, const std::string& name, Value value) {
    if (const auto symbol = symbols.find(name)) scope.set(*symbol, std::move(value));
  }
};

Status ChatTemplate::Impl::define(jinja::Scope& scope, Value messages, const ChatOptions& options) {
  for (const auto& [symbol, function] : functions) scope.set(symbol, function);
  set(scope, "messages", std::move(messages));
  set(scope, "add_generation_prompt", Value(options.add_generation_prompt));
  set(scope, "bos_token", Value(options.bos_token));
  set(scope, "eos_token", Value(options.eos_token));
  set(scope, "documents", Value::none());
  Value tools = Value::none();
  if (!options.tools_json.empty()) {
    METALLIC_ASSIGN(tools, jinja::parse_json(options.tools_json, "the list of tools"));
  }
  set(scope, "tools", tools);
  if (options.variables_json.empty()) return {};
  METALLIC_ASSIGN(const Value variables, jinja::parse_json(options.variables_json, "the object of template variables"));
  if (!variables.is(jinja::Kind::kDict)) {
    return fail(ErrorCode::kInvalidArgument, "the template variables must be a JSON object");
  }
  for (const auto& [name, value] : variables.dict().entries) set(scope, name.text(), value);
  return {};
}

Result<std::string> ChatTemplate::Impl::render(Value messages, const ChatOptions& options) {
  jinja::Runtime runtime;
  const auto root = std::make_shared<jinja::Scope>(nullptr);
  METALLIC_TRY(define(*root, std::move(messages), options));
  std::string out;
  jinja::Frame frame{runtime, symbols, root, root, &out, Value()};
  const auto flow = jinja::execute(body, frame);
  if (flow) return out;
  const auto [line, column] = runtime.failed_at;
  return in_template({flow.error().code, fmt::format("line {}, column {}: {}", line, column, flow.error().message)});
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  if (source.size() > kMaximumSourceBytes) {
    return fail(ErrorCode::kOutOfRange, "chat template: {} bytes; at most {} are read", source.size(),
                kMaximumSourceBytes);
  }
  auto impl = std::make_unique<Impl>();
  auto tokens = jinja::tokenize(source);
  if (!tokens) return in_template(tokens.error());
  auto body = jinja::Parser(std::move(*tokens), impl->symbols).parse();
  if (!body) return in_template(body.error());
  impl->body = std::move(*body);
  jinja::define_functions(impl->symbols, impl->functions);
  return ChatTemplate(std::move(impl));
}

Result<std::string> ChatTemplate::render(std::span<const ChatMessage> messages, const ChatOptions& options) const {
  METALLIC_ASSIGN(Value values, message_values(messages));
  return impl_->render(std::move(values), options);
}

Result<std::string> ChatTemplate::render_json(std::string_view messages_json, const ChatOptions& options) const {
  METALLIC_ASSIGN(Value values, jinja::parse_json(messages_json, "the list of messages"));
  if (!values.is(jinja::Kind::kList)) {
    return fail(ErrorCode::kInvalidArgument, "the messages must be a JSON array");
  }
  return impl_->render(std::move(values), options);
}

}  // namespace metallic
