#include "cli/commands.h"

namespace metallic::cli {

void add_commands(CLI::App& root, Action& action) {
  add_dequantize(root, action);
  add_inspect(root, action);
}

}  // namespace metallic::cli
