#include "cli/commands.h"

namespace metallic::cli {

// In the order of --help.
void add_commands(CLI::App& root, Action& action) {
  add_run(root, action);
  add_explain(root, action);
  add_bench(root, action);
  add_perplexity(root, action);
  add_logits(root, action);
  add_embed(root, action);
  add_forward(root, action);
  add_quantize(root, action);
  add_imatrix(root, action);
  add_inspect(root, action);
  add_dequantize(root, action);
  add_tokenize(root, action);
  add_verify(root, action);
  add_devices(root, action);
  add_template(root, action);
  add_convert(root, action);
  add_split(root, action);
  add_merge(root, action);
}

}  // namespace metallic::cli
