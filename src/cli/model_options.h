// The options that every command which runs a model has: which file, on what, with how many threads.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "metallic/engine.h"
#include "metallic/result.h"

namespace metallic::cli {

struct ModelOptions {
  std::string path;
  EngineOptions engine;
};

// Adds -m, -t and --backend.
void add_model_options(CLI::App& command, ModelOptions& options);
// -ctk, -ctv: what the KV cache holds.
void add_kv_options(CLI::App& command, ModelOptions& options);
// Adds -c and -b as well.
void add_context_options(CLI::App& command, ModelOptions& options);

// The whole content of a text file; "-" is standard input. kInvalidArgument names the first byte that is not UTF-8.
Result<std::string> read_text_file(const std::string& path);

// "1,2,3", separated by commas or white space, to token ids.
Result<std::vector<TokenId>> parse_token_ids(const std::string& text);

}  // namespace metallic::cli
