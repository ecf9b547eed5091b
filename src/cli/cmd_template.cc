// metallic template: the prompt that a chat template makes of a conversation.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "metallic/chat.h"
#include "metallic/gguf.h"
#include "metallic/tokenizer.h"
#include "model/vocab_from_gguf.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string model, file, messages, tools;
  bool no_generation_prompt = false, show = false;
  std::vector<std::string> variables;  // name=json
};

std::string token_text(const Vocab& vocab, TokenId id) {
  return id >= 0 && size_t(id) < vocab.tokens.size() ? vocab.tokens[size_t(id)] : "";
}

// The template's source; of a model, its special tokens as well.
Result<std::string> read_source(const Options& options, ChatOptions& chat) {
  if (!options.file.empty()) return read_text_file(options.file);
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(options.model));
  METALLIC_ASSIGN(const std::string_view source, file.get_string("tokenizer.chat_template"));
  METALLIC_ASSIGN(const Vocab vocab, vocab_from_gguf(file));
  chat.bos_token = token_text(vocab, vocab.bos);
  chat.eos_token = token_text(vocab, vocab.eos);
  return std::string(source);
}

Result<std::string> variables_json(const std::vector<std::string>& settings) {
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    auto value = nlohmann::ordered_json::parse(setting.substr(equals + 1), nullptr, false);
    if (equals == setting.npos || equals == 0 || value.is_discarded()) {
      return fail(ErrorCode::kInvalidArgument,
                  "--set {}: expected name=value with a value in JSON, such as x=1, x=true or x='\"text\"'", setting);
    }
    variables[setting.substr(0, equals)] = std::move(value);
  }
  return variables.dump();
}

Status print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return fail(ErrorCode::kIo, "standard output: cannot write: {}", std::strerror(errno));
}

Status render(const Options& options) {
  ChatOptions chat;
  METALLIC_ASSIGN(const std::string source, read_source(options, chat));
  if (options.show) return print(source);
  const std::string& origin = options.file.empty() ? options.model : options.file;
  const auto compiled = ChatTemplate::parse(source);
  if (!compiled) return fail_while(origin, compiled.error());
  METALLIC_ASSIGN(const std::string messages, read_text_file(options.messages));
  if (!options.tools.empty()) {
    METALLIC_ASSIGN(chat.tools_json, read_text_file(options.tools));
  }
  METALLIC_ASSIGN(chat.variables_json, variables_json(options.variables));
  chat.add_generation_prompt = !options.no_generation_prompt;
  const auto prompt = compiled->render_json(messages, chat);
  if (!prompt) return fail_while(origin, prompt.error());
  return print(*prompt);
}

}  // namespace

void add_template(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("template", "Show the prompt that a chat template makes of a conversation");
  auto* source = command->add_option_group("source")->require_option(1);
  source->add_option("-m,--model", options->model, "the GGUF file whose template and special tokens to use");
  source->add_option("--file", options->file, "a file with a Jinja template");
  auto* what = command->add_option_group("what")->require_option(1);
  what->add_option(
      "--messages", options->messages,
      "a file with the conversation, a JSON array of {\"role\": ..., \"content\": ...}; - for standard input");
  what->add_flag("--show", options->show, "print the template itself");
  command->add_option("--tools", options->tools, "a file with tool definitions, a JSON array");
  command->add_flag("--no-generation-prompt", options->no_generation_prompt,
                    "end after the last message, not where the answer begins");
  command->add_option("--set", options->variables, "name=value: a further variable of the template, in JSON")
      ->take_all()
      ->allow_extra_args(false);
  command->footer(
      "Examples:\n"
      "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | metallic template -m model.gguf --messages -\n"
      "  metallic template --file chat.jinja --messages chat.json --tools tools.json --set enable_thinking=false\n"
      "  metallic template -m model.gguf --show");
  command->callback([options, &action] { action = [options] { return render(*options); }; });
}

}  // namespace metallic::cli
