// metallic perplexity: how well a model predicts a text.
#include <fmt/core.h>

#include <cmath>
#include <cstdint>
#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_options.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  std::string text_path;
  int chunks = 0;
};

// -log p(token) under the softmax of the logits, in nats.
double negative_log_likelihood(std::span<const float> logits, TokenId token) {
  float highest = logits[0];
  for (const float logit : logits) highest = std::max(highest, logit);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - double(highest));
  return std::log(sum) + double(highest) - double(logits[size_t(token)]);
}

// Sums over the scored tokens.
struct Score {
  double sum = 0, squares = 0;
  int64_t count = 0;

  void add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double perplexity() const { return std::exp(sum / double(count)); }
  // Standard error of the perplexity, from that of the mean.
  double error() const {
    const double mean = sum / double(count);
    const double variance = std::max(0.0, squares / double(count) - mean * mean);
    return count < 2 ? 0.0 : std::sqrt(variance / double(count - 1)) * perplexity();
  }
};

Status measure(Options& options) {
  METALLIC_ASSIGN(const std::string text, read_text_file(options.text_path));
  EngineOptions& engine_options = options.model.engine;
  if (engine_options.context == 0) engine_options.context = 512;
  const size_t length = size_t(engine_options.context);
  METALLIC_ASSIGN(const auto engine, Engine::load(options.model.path, engine_options));
  METALLIC_ASSIGN(const Tokenizer* tokenizer, engine->tokenizer());
  METALLIC_ASSIGN(const std::vector<TokenId> tokens, tokenizer->encode(text));
  if (length < 2 || tokens.size() < 2 * length)
    return fail(ErrorCode::kInvalidArgument,
                "{}: {} tokens are too few for a context of {}; at least two full windows are needed",
                options.text_path, tokens.size(), length);
  size_t chunks = tokens.size() / length;
  if (options.chunks > 0) chunks = std::min(chunks, size_t(options.chunks));

  Score score;
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    std::vector<TokenId> window(tokens.begin() + ptrdiff_t(chunk * length),
                                tokens.begin() + ptrdiff_t((chunk + 1) * length));
    if (tokenizer->vocab().add_bos) window[0] = tokenizer->vocab().bos;
    const int first = int(length / 2);
    METALLIC_TRY(
        engine->evaluate(std::span(window).first(length - 1), first, [&](int position, std::span<const float> logits) {
          score.add(negative_log_likelihood(logits, window[size_t(position) + 1]));
          return true;
        }));
    fmt::print(stderr, "\r[{}/{}] perplexity {:.4f} ", chunk + 1, chunks, score.perplexity());
  }
  fmt::print(stderr, "\n");
  fmt::print("perplexity {:.4f} +/- {:.4f} ({} tokens scored, {} windows of {})\n", score.perplexity(), score.error(),
             score.count, chunks, length);
  return {};
}

}  // namespace

void add_perplexity(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("perplexity", "Measure how well a model predicts a text");
  add_model_options(*command, options->model);
  add_context_options(*command, options->model);
  command->add_option("-f,--file", options->text_path, "the text, UTF-8; - for standard input")->required();
  command->add_option("--chunks", options->chunks, "windows to evaluate (0: all)")
      ->capture_default_str()
      ->check(CLI::Range(0, INT32_MAX));
  command->footer(
      "The text is cut into windows of -c tokens (512 by default); the second half of each is scored, as "
      "llama-perplexity does.\n"
      "Example:\n  metallic perplexity -m model.gguf -f wiki.test.raw -c 512");
  command->callback([options, &action] { action = [options] { return measure(*options); }; });
}

}  // namespace metallic::cli
