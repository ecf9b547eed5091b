// metallic run: one answer, or a chat.
#include <fmt/core.h>

#include <functional>
#include <random>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/generation.h"
#include "cli/interrupt.h"
#include "cli/memory_options.h"
#include "cli/model_options.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  GenerationOptions generation;
  std::string prompt, prompt_file, system_prompt;
  std::vector<std::string> logit_bias;
  bool raw = false;
  bool quiet = false;
  CLI::Option* prompt_given = nullptr;
  CLI::Option* seed_given = nullptr;
};

// "15043+1.5", "15043-2" or "15043-inf".
Result<std::pair<TokenId, float>> parse_logit_bias(const std::string& text) {
  const size_t sign = text.find_first_of("+-", 1);
  try {
    size_t id_end = 0, bias_end = 0;
    if (sign != std::string::npos) {
      const int id = std::stoi(text.substr(0, sign), &id_end);
      const float bias = std::stof(text.substr(sign), &bias_end);
      if (id_end == sign && bias_end == text.size() - sign) return std::pair(TokenId(id), bias);
    }
  } catch (const std::logic_error&) {  // std::stoi and std::stof: no number, or out of range
  }
  return fail(ErrorCode::kInvalidArgument,
              "'{}' is no logit bias; write TOKEN_ID+BIAS or TOKEN_ID-BIAS, like 15043-1.5", text);
}

Status check_text(const char* what, const std::string& text) {
  const size_t bad = find_invalid_utf8(text);
  if (bad == std::string::npos) return {};
  return fail(ErrorCode::kInvalidArgument, "byte {} of the {} is not UTF-8", bad, what);
}

// The prompt's tokens: through the chat template, unless it is to be used as it is.
Result<std::vector<TokenId>> prompt_tokens(Engine& engine, const Options& options) {
  METALLIC_ASSIGN(const Tokenizer* tokenizer, engine.tokenizer());
  const auto chat = engine.chat_template();
  const bool no_template = !chat && chat.error().code == ErrorCode::kNotFound;
  if (options.raw || no_template) {
    if (no_template && !options.raw)
      fmt::print(stderr, "metallic: the file has no chat template; the prompt is used as it is\n");
    return tokenizer->encode(options.prompt);
  }
  if (!chat) return fail(chat.error().code, "{}; --raw uses the prompt without it", chat.error().message);
  std::vector<ChatMessage> messages;
  if (!options.system_prompt.empty()) messages.push_back({"system", options.system_prompt});
  messages.push_back({"user", options.prompt});
  return engine.chat_prompt(messages);
}

Status answer_once(Engine& engine, const Options& options, const std::function<void()>& on_accepted) {
  METALLIC_ASSIGN(std::vector<TokenId> prompt, prompt_tokens(engine, options));
  const InterruptGuard guard;
  METALLIC_ASSIGN(const Completion completion,
                  stream_answer(engine, std::move(prompt), options.generation, on_accepted));
  if (options.generation.show_statistics) print_statistics(completion);
  return {};
}

Status run(Options& options) {
  if (!options.prompt_file.empty()) {
    METALLIC_ASSIGN(options.prompt, read_text_file(options.prompt_file));
  }
  const bool one_prompt = !options.prompt_file.empty() || options.prompt_given->count() > 0;
  if (one_prompt && options.prompt.empty())
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty; give some text with -p, or no -p for a chat");
  METALLIC_TRY(check_text("prompt", options.prompt));
  METALLIC_TRY(check_text("system prompt", options.system_prompt));
  for (const std::string& text : options.logit_bias) {
    METALLIC_ASSIGN(const auto bias, parse_logit_bias(text));
    options.generation.sampling.logit_bias.push_back(bias);
  }
  if (options.seed_given->count() == 0) options.generation.sampling.seed = std::random_device{}();
  options.generation.show_statistics = !options.quiet;
  METALLIC_ASSIGN(const auto engine, Engine::load(options.model.path, options.model.engine));
  const EngineInfo& info = engine->info();
  const auto print_header = [&] {
    if (options.quiet) return;
    fmt::print(
        stderr, "[{} | {}, {} threads | weights {}, KV cache {:.0f} MB for {} tokens | loaded in {:.2f} s | seed {}]\n",
        options.model.path.substr(options.model.path.find_last_of('/') + 1), info.backend, info.threads,
        info.weight_places.empty() ? fmt::format("{:.0f} MB", double(info.weight_bytes) / 1e6) : info.weight_places,
        double(info.kv_bytes) / 1e6, info.context, info.load_seconds, options.generation.sampling.seed);
  };
  if (one_prompt) return answer_once(*engine, options, print_header);
  METALLIC_TRY(engine->chat_template());
  print_header();
  return run_chat(*engine, options.system_prompt, options.generation);
}

void add_sampling_options(CLI::App& command, Options& options) {
  SamplingOptions& sampling = options.generation.sampling;
  const char* group = "Sampling";
  command.add_option("--temp,--temperature", sampling.temperature, "0: always the most likely token")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-k", sampling.top_k, "choose among the k most likely tokens (0: off)")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--top-p", sampling.top_p,
                  "choose among the most likely tokens with this probability in sum (1: off)")
      ->capture_default_str()
      ->group(group);
  command.add_option("--min-p", sampling.min_p, "drop tokens below this share of the best one's probability (0: off)")
      ->capture_default_str()
      ->group(group);
  command.add_option("--repeat-penalty", sampling.repeat_penalty, "make recent tokens less likely (1: off)")
      ->capture_default_str()
      ->group(group);
  command.add_option("--presence-penalty", sampling.presence_penalty, "subtracted from the logit of recent tokens")
      ->capture_default_str()
      ->group(group);
  command.add_option("--frequency-penalty", sampling.frequency_penalty, "the same, for each time they occurred")
      ->capture_default_str()
      ->group(group);
  command.add_option("--repeat-last-n", sampling.penalty_window, "how many tokens are recent (-1: all)")
      ->capture_default_str()
      ->group(group);
  options.seed_given =
      command.add_option("-s,--seed", sampling.seed, "of the random numbers (default: a new one each time)")
          ->group(group);
  command.add_option("-l,--logit-bias", options.logit_bias, "TOKEN_ID+BIAS or TOKEN_ID-BIAS; may be repeated")
      ->allow_extra_args(false)
      ->group(group);
}

}  // namespace

void add_run(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("run", "Answer a prompt, or chat");
  add_model_options(*command, options->model);
  add_context_options(*command, options->model);
  add_memory_options(*command, options->model.engine.memory);
  options->prompt_given =
      command->add_option("-p,--prompt", options->prompt, "the prompt; without it (and without -f) a chat begins");
  command->add_option("-f,--file", options->prompt_file, "read the prompt from a file; - is standard input")
      ->excludes(options->prompt_given);
  command->add_option("--system-prompt", options->system_prompt, "how the model should behave (also -sys)");
  command->add_flag("--raw", options->raw, "use the prompt as it is, without the chat template");
  command
      ->add_option("-n,--predict", options->generation.max_tokens,
                   "the most tokens to answer with (-1: until the context is full)")
      ->capture_default_str()
      ->check(CLI::Range(-1, INT32_MAX));
  command->add_option("-r,--stop", options->generation.stop, "end the answer before this text; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--ignore-eos", options->generation.ignore_end, "go on when the model ends its answer");
  command->add_flag("--special", options->generation.show_special, "show control tokens");
  command->add_flag("-q,--quiet", options->quiet, "no figures on standard error");
  add_sampling_options(*command, *options);
  command->footer(
      "Examples:\n"
      "  metallic run -m model.gguf -p \"Why is the sky blue?\"\n"
      "  metallic run -m model.gguf -sys \"You are a pirate.\"            (a chat; /? for help)\n"
      "  metallic run -m model.gguf --raw -p \"Once upon a time\" -n 64 --temp 0\n"
      "The answer goes to standard output, everything else to standard error.");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace metallic::cli
