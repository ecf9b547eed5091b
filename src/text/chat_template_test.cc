#include <thread>

#include "metallic/chat.h"
#include "text/chat_defaults.h"
#include "text/jinja/test_support.h"

namespace metallic {
namespace {

using jinja::golden;
using jinja::Json;

ChatOptions options_of(const Json& model, const Json& settings) {
  ChatOptions options;
  options.bos_token = model["bos_token"].get<std::string>();
  options.eos_token = model["eos_token"].get<std::string>();
  options.add_generation_prompt = settings.value("add_generation_prompt", true);
  if (settings.contains("tools")) options.tools_json = settings["tools"].dump();
  return options;
}

Result<std::string> render(std::string_view source, std::span<const ChatMessage> messages, const ChatOptions& options) {
  const auto compiled = ChatTemplate::parse(source);
  if (!compiled) return tl::unexpected<Error>(compiled.error());
  return compiled->render(messages, options);
}

std::string parse_error(std::string_view source) {
  const auto compiled = ChatTemplate::parse(source);
  return compiled ? "parsed" : compiled.error().message;
}

TEST(ChatTemplate, RendersTheModelsOwnTemplatesAsJinja2) {
  const Json data = golden("models.json");
  for (const auto& [name, model] : data["models"].items()) {
    const auto compiled = ChatTemplate::parse(model["template"].get<std::string>());
    ASSERT_TRUE(compiled) << compiled.error().message;
    for (const Json& each : data["cases"]) {
      if (each["model"] != name) continue;
      SCOPED_TRACE(name + " " + each["conversation"].dump() + " " + each["options"].dump());
      const Json& messages = data["conversations"][each["conversation"].get<std::string>()];
      const ChatOptions options = options_of(model, data["options"][each["options"].get<std::string>()]);
      jinja::expect_as_jinja2(compiled->render_json(messages.dump(), options), each["expected"]);
    }
  }
}

TEST(ChatTemplate, GivesTheTemplateMessagesTokensAndVariables) {
  ChatOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.tools_json = R"([{"name": "f"}])";
  options.variables_json = R"({"enable_thinking": false, "n": 18446744073709551615})";
  const ChatMessage messages[] = {{"system", "be"}, {"user", "hi"}};
  EXPECT_EQ(render("{{ bos_token }}{% for m in messages %}[{{ m.role }}|{{ m['content'] }}]{% endfor %}{{ eos_token }}"
                   "{{ tools[0].name }}{{ enable_thinking }}{{ n }}{{ add_generation_prompt }}{{ documents }}",
                   messages, options)
                .value_or("failed"),
            "<s>[system|be][user|hi]</s>fFalse18446744073709551615TrueNone");
  EXPECT_EQ(render("{{ tools }}{{ tools is defined }}{{ other is defined }}", {}, ChatOptions()).value_or("failed"),
            "NoneTrueFalse");
}

TEST(ChatTemplate, RaiseExceptionIsAnInvalidArgumentWithItsMessageAndPlace) {
  const auto result = render("a\n  {{ raise_exception('Roles must alternate') }}", {}, ChatOptions());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(result.error().message.find("Roles must alternate"), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find("line 2, column 21"), std::string::npos) << result.error().message;
}

TEST(ChatTemplate, SyntaxErrorsNameLineAndColumnAndWhatWasExpected) {
  EXPECT_EQ(parse_error("{% if x %}\n  {{ 1 + }}"),
            "chat template: line 2, column 10: expected an expression, found '}}'");
  EXPECT_EQ(parse_error("{% for x in y %}"),
            "chat template: line 1, column 17: expected {% endfor %} or {% else %}, found the end of the template");
  EXPECT_EQ(parse_error("äö {{ 'abc }}"), "chat template: line 1, column 7: a string without its closing '");
  EXPECT_EQ(parse_error("{{ \xff }}"), "chat template: it is not valid UTF-8 (byte 3)");
}

TEST(ChatTemplate, RefusesAtParseTimeWhatItDoesNotKnow) {
  for (const char* source : {"{{ x|urlize }}", "{{ x|random }}", "{% include 'x' %}", "{% extends 'x' %}",
                             "{% autoescape true %}{% endautoescape %}", "{{ '\\N{DASH}' }}"}) {
    const auto compiled = ChatTemplate::parse(source);
    ASSERT_FALSE(compiled) << source;
    EXPECT_EQ(compiled.error().code, ErrorCode::kUnsupported) << compiled.error().message;
  }
  EXPECT_EQ(parse_error("{{ x|frobnicate }}"), "chat template: line 1, column 6: there is no filter 'frobnicate'");
  EXPECT_EQ(parse_error("{{ x is odder }}"), "chat template: line 1, column 6: there is no test 'odder'");
  EXPECT_EQ(parse_error("{% frob %}"),
            "chat template: line 1, column 4: unknown tag 'frob', or one without its beginning");
}

TEST(ChatTemplate, RefusesInputThatIsNoConversation) {
  const auto compiled = ChatTemplate::parse("{{ messages }}");
  ASSERT_TRUE(compiled);
  const ChatMessage broken[] = {{"user", "ok"}, {"user", "a\xff"}};
  const auto result = compiled->render(broken, ChatOptions());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "message 2 is not valid UTF-8 at byte 1");
  for (const char* json : {"", "{}", "[", "[1,]", "nul", "\"x\"", "[\"\xff\"]"}) {
    const auto from_json = compiled->render_json(json, ChatOptions());
    ASSERT_FALSE(from_json) << json;
    EXPECT_EQ(from_json.error().code, ErrorCode::kInvalidArgument);
  }
  ChatOptions options;
  options.tools_json = "[";
  EXPECT_FALSE(compiled->render({}, options));
  options = ChatOptions();
  options.variables_json = "[]";
  EXPECT_FALSE(compiled->render({}, options));
}

TEST(ChatTemplate, RendersInSeveralThreadsAtOnce) {
  const auto compiled = ChatTemplate::parse(
      "{% set n = namespace(s='') %}{% for m in messages %}{% set n.s = n.s ~ m.content ~ 'x'|upper %}{% endfor %}{{ "
      "n.s }}");
  ASSERT_TRUE(compiled);
  std::vector<std::thread> threads;
  std::vector<std::string> outputs(4);
  for (size_t t = 0; t < outputs.size(); ++t) {
    threads.emplace_back([&, t] {
      const std::vector<ChatMessage> messages(50, ChatMessage{"user", std::to_string(t)});
      for (int i = 0; i < 20; ++i) outputs[t] = compiled->render(messages, ChatOptions()).value_or("failed");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < outputs.size(); ++t) {
    std::string expected;
    for (int i = 0; i < 50; ++i) expected += std::to_string(t) + "X";
    EXPECT_EQ(outputs[t], expected);
  }
}

TEST(ChatTemplate, TheDefaultIsChatML) {
  const ChatMessage messages[] = {{"user", "hi"}};
  EXPECT_EQ(render(default_chat_template(), messages, ChatOptions()).value_or("failed"),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace metallic
