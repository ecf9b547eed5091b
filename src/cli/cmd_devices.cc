// metallic devices: what there is to compute with, and what this build can use.
#include <fmt/core.h>

#include "backend/backend.h"
#include "cli/commands.h"

namespace metallic::cli {
namespace {

Status list() {
  constexpr double kGiB = 1 << 30;
  for (const DeviceInfo& device : list_devices()) {
    fmt::print("{:<6}  {}", device.name, device.description);
    if (device.memory_bytes > 0)
      fmt::print(", {:.1f} GiB, {:.1f} GiB free", double(device.memory_bytes) / kGiB, double(device.free_bytes) / kGiB);
    if (device.bandwidth > 0) fmt::print(", {:.0f} GB/s", device.bandwidth / 1e9);
    fmt::print("{}\n", device.problem.empty() ? "" : " (not used: " + device.problem + ")");
  }
  fmt::print("built in:");
  for (const char* name : backend_names()) fmt::print(" {}", name);
  fmt::print("\n");
  return {};
}

}  // namespace

void add_devices(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("devices", "List the processors and GPUs that can be computed with");
  command->footer("Example:\n  metallic devices\nThe names are those that --device takes.");
  command->callback([&action] { action = [] { return list(); }; });
}

}  // namespace metallic::cli
