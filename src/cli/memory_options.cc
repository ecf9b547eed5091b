#include "cli/memory_options.h"

#include <fmt/core.h>

#include <charconv>
#include <map>

namespace metallic::cli {
namespace {

constexpr const char* kGroup = "Memory";

void add_size(CLI::App& command, const std::string& name, uint64_t& bytes, const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&bytes, name](const std::string& text) {
            const auto size = parse_size(text);
            if (!size) throw CLI::ValidationError(name, text + " is no size such as 4G, 1.5G or 800M");
            bytes = *size;
          },
          help)
      ->type_name("SIZE")
      ->group(kGroup);
}

}  // namespace

std::optional<uint64_t> parse_size(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !(number > 0)) return std::nullopt;
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
  double factor = 1;
  for (const char* const letter : {"K", "M", "G", "T"}) {
    factor *= 1024;
    if (unit == letter || unit == std::string(letter) + "B" || unit == std::string(letter) + "IB") {
      number *= factor;
      unit.clear();
      break;
    }
  }
  if (!unit.empty() || !(number >= 1 && number < 0x1p62)) return std::nullopt;
  return uint64_t(number);
}

void add_memory_options(CLI::App& command, MemoryOptions& options) {
  add_size(command, "--gpu-memory", options.gpu_bytes, "the most to take of the GPU's memory [what is free]");
  add_size(command, "--ram", options.ram_bytes, "the most to take of the main memory [what is free]");
  command
      .add_option_function<std::string>(
          "--gpu-layers,--n-gpu-layers",
          [&options](const std::string& text) {
            int layers = -1;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layers);
            const bool number = error == std::errc() && end == text.data() + text.size() && layers >= 0;
            if (!number && text != "auto" && text != "-1")
              throw CLI::ValidationError("--gpu-layers", text + " is neither a number of layers nor auto");
            options.gpu_layers = number ? layers : -1;
          },
          "(-ngl) so many layers wholly on the GPU, the head too if more than there are [auto: what is fastest]")
      ->type_name("N|auto")
      ->group(kGroup);
  const std::map<std::string, KvOffload> places = {
      {"auto", KvOffload::kAuto}, {"on", KvOffload::kOn}, {"off", KvOffload::kOff}};
  command
      .add_option("--kv-offload", options.kv_offload,
                  "whether the KV cache is on the GPU: auto (where that is fastest), on, off [auto]")
      ->transform(CLI::CheckedTransformer(places))
      ->type_name("auto|on|off")
      ->option_text(" ")
      ->group(kGroup);
  add_size(command, "--kv-memory", options.kv_bytes,
           "the most to take for keys and values, of several sequences [the whole context of each]");
  add_size(command, "--kv-swap", options.kv_swap_bytes,
           "main memory for keys and values of sequences that wait for others [none: they are computed again]");
  command.add_flag("--fit")
      ->description("put every part where it is fastest within what is free: always done")
      ->group(kGroup);
}

}  // namespace metallic::cli
