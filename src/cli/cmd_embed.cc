// metallic embed: the vector that a model gives for a text.
#include <fmt/core.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/npy.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "engine/evaluator.h"

namespace metallic::cli {
namespace {

// How the vectors of all tokens become one; the values are those of the key pooling_type.
enum class Pooling { kNone = 0, kMean = 1, kFirst = 2, kLast = 3 };

struct PoolingName {
  const char* name;
  Pooling pooling;
};
constexpr PoolingName kPoolings[] = {
    {"none", Pooling::kNone}, {"mean", Pooling::kMean}, {"cls", Pooling::kFirst}, {"last", Pooling::kLast}};

struct Options {
  ModelOptions model;
  std::string text, tokens, pooling, output;
  bool normalise = false;
};

Result<Pooling> pooling_of(const Options& options, const Model& model) {
  for (const PoolingName& known : kPoolings)
    if (options.pooling == known.name) return known.pooling;
  const std::string key = std::string(model.config().spec->name) + ".pooling_type";
  METALLIC_ASSIGN(const uint64_t value, model.file().get_unsigned_or(key, uint64_t(Pooling::kMean)));
  for (const PoolingName& known : kPoolings)
    if (value == uint64_t(known.pooling)) return known.pooling;
  return fail(ErrorCode::kUnsupported, "{}: {} is {}, which is no way of pooling; choose one with --pooling",
              model.file().path(), key, value);
}

// (rows, width) to (1, width), or the rows as they are.
std::vector<float> pooled(const std::vector<float>& rows, size_t width, Pooling pooling) {
  const size_t count = rows.size() / width;
  if (pooling == Pooling::kNone) return rows;
  if (pooling == Pooling::kFirst) return {rows.begin(), rows.begin() + ptrdiff_t(width)};
  if (pooling == Pooling::kLast) return {rows.end() - ptrdiff_t(width), rows.end()};
  std::vector<float> mean(width);
  for (size_t i = 0; i < width; ++i) {
    double sum = 0;
    for (size_t row = 0; row < count; ++row) sum += double(rows[row * width + i]);
    mean[i] = float(sum / double(count));
  }
  return mean;
}

void normalise_rows(std::vector<float>& rows, size_t width) {
  for (size_t at = 0; at < rows.size(); at += width) {
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += double(rows[at + i]) * double(rows[at + i]);
    const double factor = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
    for (size_t i = 0; i < width; ++i) rows[at + i] = float(double(rows[at + i]) * factor);
  }
}

Status embed(const Options& options) {
  if (options.text.empty() == options.tokens.empty())
    return fail(ErrorCode::kInvalidArgument, "give either a text with -p or token ids with --tokens");
  METALLIC_ASSIGN(const auto backend, open_backend(options.model.engine.backend, options.model.engine.threads,
                                                   options.model.engine.repack));
  METALLIC_ASSIGN(const auto model, Model::load(options.model.path, backend));
  if (!model->config().spec->encoder)
    return fail(ErrorCode::kUnsupported, "{}: '{}' is no encoder; it generates text (metallic run)", options.model.path,
                model->config().spec->name);
  METALLIC_ASSIGN(const Pooling pooling, pooling_of(options, *model));
  std::vector<TokenId> tokens;
  if (options.tokens.empty()) {
    METALLIC_ASSIGN(const Tokenizer* tokenizer, model->tokenizer());
    METALLIC_ASSIGN(tokens, tokenizer->encode(options.text));
  } else {
    METALLIC_ASSIGN(tokens, parse_token_ids(options.tokens));
  }
  if (tokens.empty()) return fail(ErrorCode::kInvalidArgument, "the text has no tokens");
  const int count = int(tokens.size());
  if (count > model->config().context_length)
    return fail(ErrorCode::kOutOfRange, "{} tokens are more than the {} positions of this model; shorten the text",
                count, model->config().context_length);
  METALLIC_ASSIGN(const auto evaluator, Evaluator::create(model, count, count, Format::kF32));
  std::vector<int32_t> rows(tokens.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> hidden;
  METALLIC_TRY(evaluator->feed(tokens, rows, hidden));

  const size_t width = size_t(evaluator->output_width());
  std::vector<float> result = pooled(hidden, width, pooling);
  if (options.normalise) normalise_rows(result, width);
  const std::array<uint64_t, 2> shape = {result.size() / width, width};
  if (!options.output.empty()) return write_npy<float>(options.output, shape, result);
  for (size_t at = 0; at < result.size(); at += width)
    fmt::print("{}\n", fmt::join(std::span(result).subspan(at, width), " "));
  return {};
}

}  // namespace

void add_embed(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("embed", "Give the embedding of a text (BERT and other encoders)");
  add_model_options(*command, options->model);
  command->add_option("-p,--prompt", options->text, "the text");
  command->add_option("--tokens", options->tokens, "token ids instead, separated by commas, taken as they are");
  command->add_option("--pooling", options->pooling, "none, mean, cls, last (default: what the file says, else mean)")
      ->check(CLI::IsMember({"none", "mean", "cls", "last"}));
  command->add_flag("--normalize", options->normalise, "scale the vector to length 1");
  command->add_option("-o,--output", options->output, "write float32 .npy (vectors, width) instead of printing");
  command->footer("Example:\n  metallic embed -m all-minilm.gguf -p \"How do birds fly?\" --normalize");
  command->callback([options, &action] { action = [options] { return embed(*options); }; });
}

}  // namespace metallic::cli
