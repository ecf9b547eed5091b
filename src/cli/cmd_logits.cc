// metallic logits: the raw scores of a model for given token ids, for comparing engines.
#include <array>

#include "base/error.h"
#include "base/npy.h"
#include "cli/commands.h"
#include "cli/model_options.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  std::string tokens;
  std::string output;
};

Status write_logits(Options& options) {
  METALLIC_ASSIGN(const std::vector<TokenId> tokens, parse_token_ids(options.tokens));
  EngineOptions& engine_options = options.model.engine;
  engine_options.context = int(tokens.size());
  METALLIC_ASSIGN(const auto engine, Engine::load(options.model.path, engine_options));
  const std::array<uint64_t, 2> shape = {tokens.size(), uint64_t(engine->info().vocab)};
  METALLIC_ASSIGN(NpyWriter writer, NpyWriter::create(options.output, NpyType::kFloat32, shape));
  Status written;
  METALLIC_TRY(engine->evaluate(tokens, 0, [&](int, std::span<const float> logits) {
    written = writer.append(std::as_bytes(logits));
    return bool(written);
  }));
  METALLIC_TRY(written);
  return writer.finish();
}

}  // namespace

void add_logits(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("logits", "Write the logits of every position of a token sequence");
  add_model_options(*command, options->model);
  add_kv_options(*command, options->model);
  command->add_option("--tokens", options->tokens, "token ids, separated by commas")->required();
  command->add_option("-o,--output", options->output, "the .npy file to write: float32 (tokens, vocabulary)")
      ->required();
  command->footer(
      "Example:\n  metallic logits -m model.gguf --tokens 1,2,3 -o logits.npy\n"
      "Tokens are taken as they are: no BOS is added.");
  command->callback([options, command, &action] {
    EngineOptions& engine_options = options->model.engine;
    if (engine_options.backend == "reference") {  // the oracle rounds nothing that it need not
      if (command->count("--cache-type-k") == 0) engine_options.kv_formats.keys = Format::kF32;
      if (command->count("--cache-type-v") == 0) engine_options.kv_formats.values = Format::kF32;
    }
    action = [options] { return write_logits(*options); };
  });
}

}  // namespace metallic::cli
