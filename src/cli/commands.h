// The sub-commands of `metallic`: one file each (cmd_x.cc), one line each in commands.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "metallic/result.h"

namespace metallic::cli {

// What the chosen sub-command does, run after the whole command line has been parsed.
using Action = std::function<Status()>;

// Each adds its sub-command to `root`; when it is chosen on the command line, it sets `action`.
void add_bench(CLI::App& root, Action& action);
void add_convert(CLI::App& root, Action& action);
void add_devices(CLI::App& root, Action& action);
void add_dequantize(CLI::App& root, Action& action);
void add_embed(CLI::App& root, Action& action);
void add_explain(CLI::App& root, Action& action);
void add_forward(CLI::App& root, Action& action);
void add_imatrix(CLI::App& root, Action& action);
void add_inspect(CLI::App& root, Action& action);
void add_logits(CLI::App& root, Action& action);
void add_merge(CLI::App& root, Action& action);
void add_perplexity(CLI::App& root, Action& action);
void add_quantize(CLI::App& root, Action& action);
void add_run(CLI::App& root, Action& action);
void add_template(CLI::App& root, Action& action);
void add_split(CLI::App& root, Action& action);
void add_tokenize(CLI::App& root, Action& action);
void add_verify(CLI::App& root, Action& action);

// Adds all of them.
void add_commands(CLI::App& root, Action& action);

}  // namespace metallic::cli
