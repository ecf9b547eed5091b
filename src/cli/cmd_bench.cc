// metallic bench: tokens per second of prompt processing and of generation.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "engine/evaluator.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  int prompt = 512;
  int generate = 128;
  int repetitions = 5;
  std::string format = "md";
};

struct Measurement {
  std::string test;  // "pp512", "tg128"
  int tokens = 0;
  std::vector<double> tokens_per_second;  // one for each repetition

  double mean() const {
    double sum = 0;
    for (const double x : tokens_per_second) sum += x;
    return sum / double(tokens_per_second.size());
  }
  double deviation() const {
    double squares = 0;
    for (const double x : tokens_per_second) squares += (x - mean()) * (x - mean());
    return tokens_per_second.size() < 2 ? 0 : std::sqrt(squares / double(tokens_per_second.size() - 1));
  }
  double median() const {
    std::vector<double> sorted = tokens_per_second;
    std::sort(sorted.begin(), sorted.end());
    const size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
};

// Any ids do: the work does not depend on them.
std::vector<TokenId> some_tokens(int count, int vocab) {
  std::vector<TokenId> ids(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) ids[size_t(i)] = TokenId((int64_t(i) * 7919 + 13) % vocab);
  return ids;
}

// Feeds `tokens` in steps of at most `step`, with logits of the last one of each.
Status feed_all(Evaluator& evaluator, std::span<const TokenId> tokens, int step) {
  std::vector<float> logits;
  for (size_t at = 0; at < tokens.size();) {
    const size_t rows = std::min(tokens.size() - at, size_t(step));
    const int32_t last = int32_t(rows) - 1;
    const bool wanted = step == 1 || at + rows == tokens.size();
    METALLIC_TRY(evaluator.feed(tokens.subspan(at, rows), {&last, wanted ? 1u : 0u}, logits));
    at += rows;
  }
  return {};
}

Result<Measurement> measure(Evaluator& evaluator, const std::string& test, int tokens, int step, int repetitions,
                            int vocab) {
  Measurement result{test + std::to_string(tokens), tokens, {}};
  const std::vector<TokenId> ids = some_tokens(tokens, vocab);
  evaluator.rewind(0);
  METALLIC_TRY(
      feed_all(evaluator, std::span(ids).first(size_t(std::min(tokens, step == 1 ? 4 : tokens))), step));  // warm up
  for (int i = 0; i < repetitions; ++i) {
    evaluator.rewind(0);
    const auto start = std::chrono::steady_clock::now();
    METALLIC_TRY(feed_all(evaluator, ids, step));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result.tokens_per_second.push_back(double(tokens) / seconds);
  }
  return result;
}

void print_markdown(const Options& options, const Model& model, const std::vector<Measurement>& results) {
  fmt::print(
      "| model | architecture | backend | threads | test | tokens/s |\n| --- | --- | --- | ---: | --- | ---: |\n");
  const std::string name = options.model.path.substr(options.model.path.find_last_of('/') + 1);
  for (const Measurement& m : results)
    fmt::print("| {} | {} | {} | {} | {} | {:.2f} ± {:.2f} |\n", name, model.config().spec->name,
               model.backend().name(), model.backend().threads(), m.test, m.mean(), m.deviation());
}

void print_json(const Options& options, const Model& model, const std::vector<Measurement>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Measurement& m : results)
    list.push_back({{"model", options.model.path},
                    {"architecture", model.config().spec->name},
                    {"backend", model.backend().name()},
                    {"threads", model.backend().threads()},
                    {"test", m.test},
                    {"tokens", m.tokens},
                    {"mean_tokens_per_second", m.mean()},
                    {"median_tokens_per_second", m.median()},
                    {"deviation", m.deviation()},
                    {"tokens_per_second", m.tokens_per_second}});
  fmt::print("{}\n", list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

Status run_bench(const Options& options) {
  const EngineOptions& engine = options.model.engine;
  METALLIC_ASSIGN(const auto backend, open_backend(engine.backend, engine.threads, engine.repack));
  METALLIC_ASSIGN(const auto model, Model::load(options.model.path, backend));
  const int context = std::max({options.prompt, options.generate, 1});
  METALLIC_ASSIGN(const auto evaluator, Evaluator::create(model, context, engine.batch_rows, engine.kv_formats));
  std::vector<Measurement> results;
  if (options.prompt > 0) {
    METALLIC_ASSIGN(Measurement m, measure(*evaluator, "pp", options.prompt, evaluator->batch_rows(),
                                           options.repetitions, model->config().vocab));
    results.push_back(std::move(m));
  }
  if (options.generate > 0) {
    METALLIC_ASSIGN(Measurement m,
                    measure(*evaluator, "tg", options.generate, 1, options.repetitions, model->config().vocab));
    results.push_back(std::move(m));
  }
  if (results.empty()) return fail(ErrorCode::kInvalidArgument, "nothing to measure: -p and -n are both 0");
  options.format == "json" ? print_json(options, *model, results) : print_markdown(options, *model, results);
  return {};
}

}  // namespace

void add_bench(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("bench", "Measure the speed of a model on this machine");
  add_model_options(*command, options->model);
  command->add_option("-b,--batch-size", options->model.engine.batch_rows, "the most tokens evaluated in one step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("-p,--n-prompt", options->prompt, "tokens of the prompt test (0: none)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("-n,--n-gen", options->generate, "tokens of the generation test (0: none)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("-r,--repetitions", options->repetitions, "measurements of each test")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("-o,--output", options->format, "md: a table; json: every figure")
      ->capture_default_str()
      ->check(CLI::IsMember({"md", "json"}));
  command->footer("Example:\n  metallic bench -m model.gguf -p 512 -n 128 -t 2 -r 5 -o json");
  command->callback([options, &action] { action = [options] { return run_bench(*options); }; });
}

}  // namespace metallic::cli
