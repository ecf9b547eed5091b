// metallic devices: what there is to compute with, and what this build can use.
#include <fmt/core.h>

#include "backend/backend.h"
#include "cli/commands.h"

namespace metallic::cli {
namespace {

// Bytes a second that all threads read from memory, measured now: no table says it. 0 if it cannot be had.
double host_bandwidth() {
  const auto backend = open_backend("cpu", 0);
  return backend ? (*backend)->measure_limits().read_bytes_per_second : 0;
}

Status list() {
  constexpr double kGiB = 1 << 30;
  for (const DeviceInfo& device : list_devices()) {
    fmt::print("{:<6}  {}", device.name, device.description);
    if (device.memory_bytes > 0)
      fmt::print(", {:.1f} GiB, {:.1f} GiB free", double(device.memory_bytes) / kGiB, double(device.free_bytes) / kGiB);
    const double bandwidth = device.name == "cpu" ? host_bandwidth() : device.bandwidth;
    if (bandwidth > 0) fmt::print(", {:.0f} GB/s", bandwidth / 1e9);
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
  command->footer(
      "Example:\n  metallic devices\nThe names are those that --device takes. The bandwidth of "
      "the processor's\nmemory is measured, that of a GPU's is by its clock and width.");
  command->callback([&action] { action = [] { return list(); }; });
}

}  // namespace metallic::cli
