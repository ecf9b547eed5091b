#include "memory/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>

#include "memory/machine.h"

namespace metallic {
namespace {

using Json = nlohmann::ordered_json;

std::string size_text(uint64_t bytes) {
  return bytes >= 100'000'000 ? fmt::format("{:.1f} GB", double(bytes) / 1e9)
                              : fmt::format("{:.1f} MB", double(bytes) / 1e6);
}

std::string seconds_text(double seconds) {
  return seconds >= 1 ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.1f} ms", 1e3 * seconds);
}

bool treated_alike(const Placement& a, const Placement& b) {
  return a.place == b.place && a.reason == b.reason && a.gpu == b.gpu && a.disk == b.disk &&
         a.decode_cpu == b.decode_cpu && a.prompt_cpu == b.prompt_cpu;
}

uint64_t file_bytes(const ModelSizes& sizes) {
  return std::accumulate(sizes.blocks.begin(), sizes.blocks.end(), uint64_t{0},
                         [](uint64_t sum, const Block& block) { return sum + block.file_bytes; });
}

// "GPU 40 %, CPU 20 %, link 40 %": who multiplies.
std::string shares_text(const Placement& place, float cpu) {
  struct Part {
    const char* name;
    float share;
  };
  std::string text;
  for (const Part& part : {Part{"GPU", place.gpu}, Part{"link", 1 - place.gpu - cpu}, Part{"CPU", cpu}}) {
    if (part.share < 0.005f) continue;
    if (!text.empty()) text += ", ";
    text += part.share > 0.995f ? part.name : fmt::format("{} {:.0f} %", part.name, 100 * part.share);
  }
  return text;
}

std::string layers_text(const BlockRun& run) {
  std::string text;
  for (const auto& [first, last] : run.layers) {
    text += text.empty() ? "" : ",";
    text += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
  }
  return text.empty() ? "-" : text;
}

std::string spending_line(const char* what, const Spending& spending) {
  std::string parts;
  const auto part = [&](const char* name, uint64_t bytes) {
    if (bytes > 0) parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", name, size_text(bytes));
  };
  part("weights", spending.weights);
  part("KV cache", spending.kv);
  part("activations", spending.activations);
  part("ring", spending.ring);
  part("draft model", spending.draft);
  part("program", spending.context);
  return fmt::format("{:<10} {} of {}: {}\n", what, size_text(spending.total()), size_text(spending.budget), parts);
}

// "60 GB/s", or "about 12 GB/s" where it was not measured.
std::string rate_text(double measured, double used) {
  return fmt::format("{}{:.3g} GB/s", measured > 0 ? "" : "about ", used / 1e9);
}

std::string machine_line(const Machine& machine) {
  const Machine used = with_defaults(machine);
  std::string text = machine.name.empty() ? "" : machine.name + ": ";
  if (machine.has_gpu)
    text += fmt::format("{} {} free at {}, link {}; ", machine.gpu_name.empty() ? "GPU" : machine.gpu_name,
                        size_text(machine.gpu_bytes), rate_text(machine.gpu_rate, used.gpu_rate),
                        rate_text(machine.link_rate, used.link_rate));
  return text + fmt::format("RAM {} free at {}, {}{:.0f} Gop/s; disk {}", size_text(machine.ram_bytes),
                            rate_text(machine.ram_rate, used.ram_rate), machine.cpu_rate > 0 ? "" : "about ",
                            used.cpu_rate / 1e9, rate_text(machine.disk_rate, used.disk_rate));
}

// What the others wait for.
const char* bottleneck(const StepTime& time) {
  const double busy = time.total - time.fixed;
  if (time.disk >= 0.5 * busy && time.disk > std::max({time.cpu, time.gpu, time.link})) return "the disk";
  if (time.link >= 0.95 * busy && time.cpu >= 0.5 * busy) return "the link and the CPU, which share the work";
  if (time.link >= 0.95 * busy) return "the link";
  if (time.cpu >= time.gpu) return "the CPU";
  return "the GPU";
}

Json step_json(const StepTime& time) {
  return {{"seconds", time.total},      {"cpu_seconds", time.cpu},   {"gpu_seconds", time.gpu},
          {"link_seconds", time.link},  {"disk_seconds", time.disk}, {"handover_seconds", time.handover},
          {"fixed_seconds", time.fixed}};
}

Json spending_json(const Spending& spending) {
  return {{"budget", spending.budget},   {"total", spending.total()},           {"weights", spending.weights},
          {"kv_cache", spending.kv},     {"activations", spending.activations}, {"ring", spending.ring},
          {"program", spending.context}, {"draft_model", spending.draft}};
}

}  // namespace

std::vector<BlockRun> block_runs(const ModelSizes& sizes, const Plan& plan) {
  std::vector<int> order(sizes.blocks.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](int i) {
    const Block& block = sizes.blocks[size_t(i)];
    return std::tuple(block.kind, block.layer, block.expert);
  };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });
  std::vector<BlockRun> runs;
  for (const int i : order) {
    const Block& block = sizes.blocks[size_t(i)];
    const Placement& placement = plan.places[size_t(i)];
    auto found = std::find_if(runs.begin(), runs.end(), [&](const BlockRun& run) {
      return run.kind == block.kind && treated_alike(run.placement, placement);
    });
    if (found == runs.end()) found = runs.insert(found, {block.kind, {}, 0, 0, placement});
    BlockRun& run = *found;
    if (block.layer >= 0 && (run.layers.empty() || run.layers.back().second + 1 < block.layer))
      run.layers.push_back({block.layer, block.layer});
    else if (block.layer >= 0)
      run.layers.back().second = block.layer;
    ++run.blocks;
    run.bytes += block.file_bytes;
  }
  return runs;
}

std::string places_in_brief(const Plan& plan, const ModelSizes& sizes) {
  uint64_t disk = 0;
  for (size_t i = 0; i < plan.places.size(); ++i)
    if (plan.places[i].disk) disk += uint64_t(double(1 - plan.places[i].gpu) * double(sizes.blocks[i].file_bytes));
  std::string text;
  const auto part = [&](uint64_t bytes, const char* where) {
    if (bytes > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", size_text(bytes), where);
  };
  part(plan.gpu.weights, "on the GPU");
  part(plan.ram.weights, "in RAM");
  part(disk, "on disk");
  return text;
}

std::string explain_text(const ModelSizes& sizes, const Machine& machine, const Plan& plan) {
  std::string text = fmt::format("{:<10} {}, {} of weights, {} layers\n", "model", sizes.name,
                                 size_text(file_bytes(sizes)), sizes.layers);
  text += fmt::format("{:<10} {}\n", "machine", machine_line(machine));
  text += fmt::format("{:<10} {} tokens{}, {} sequence{}, steps of up to {} tokens\n\n", "context", plan.context,
                      plan.context_shrunk ? " (less than the model has: memory is short)" : "", plan.sequences,
                      plan.sequences == 1 ? "" : "s", plan.batch_rows);
  text +=
      "| layers | blocks | size | place | decoding | prompts | why |\n| --- | --- | ---: | --- | --- | --- | --- |\n";
  for (const BlockRun& run : block_runs(sizes, plan)) {
    const Placement& place = run.placement;
    const std::string what = run.blocks == 1 ? std::string(block_kind_name(run.kind))
                                             : fmt::format("{} {}", run.blocks, block_kind_name(run.kind));
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", layers_text(run), what, size_text(run.bytes),
                        place_name(place.place), shares_text(place, place.decode_cpu),
                        shares_text(place, place.prompt_cpu), reason_text(place.reason));
  }
  text += "\n";
  if (plan.uses_gpu()) {
    const auto layers = std::count(plan.kv_on_gpu.begin(), plan.kv_on_gpu.end(), true);
    text += spending_line("GPU", plan.gpu);
    text += spending_line("RAM", plan.ram);
    text += fmt::format("{:<10} of {} of {} layers on the GPU\n", "KV cache", layers, sizes.layers);
  } else {
    text += spending_line("RAM", plan.ram);
  }
  if (!sizes.packed)
    text += fmt::format("{:<10} in RAM as the file has them: panels are faster, where they fit\n", "weights");
  const StepTime& time = plan.decode;
  const std::string handovers =
      time.handover > 0 ? fmt::format(", hand-overs {}", seconds_text(time.handover)) : std::string();
  text += fmt::format("{:<10} {:.3g} tokens/s ({} a token: CPU {}, GPU {}, link {}, disk {}{}); limited by {}\n",
                      "decoding", plan.tokens_per_second(), seconds_text(time.total), seconds_text(time.cpu),
                      seconds_text(time.gpu), seconds_text(time.link), seconds_text(time.disk), handovers,
                      bottleneck(time));
  text +=
      fmt::format("{:<10} first token of a prompt of {} after {} ({:.0f} tokens/s), of {} after {} ({:.0f} tokens/s)\n",
                  "prompts", plan.prompt_tokens, seconds_text(plan.prompt_seconds),
                  plan.prompt_tokens / plan.prompt_seconds, 4 * plan.prompt_tokens,
                  seconds_text(plan.long_prompt_seconds), 4 * plan.prompt_tokens / plan.long_prompt_seconds);
  for (const Advice& advice : plan.advice)
    text += fmt::format("{:<10} with {}: {:.2g}x\n", "helps", advice.change, advice.factor);
  return text;
}

std::string explain_json(const ModelSizes& sizes, const Machine& machine, const Plan& plan) {
  Json json = {
      {"model", sizes.name},         {"weight_bytes", file_bytes(sizes)}, {"layers", sizes.layers},
      {"machine", machine.name},     {"context", plan.context},           {"context_shrunk", plan.context_shrunk},
      {"sequences", plan.sequences}, {"batch_rows", plan.batch_rows},     {"packed", sizes.packed}};
  json["blocks"] = Json::array();
  for (const BlockRun& run : block_runs(sizes, plan)) {
    const Placement& place = run.placement;
    json["blocks"].push_back({{"kind", block_kind_name(run.kind)},
                              {"first_layer", run.layers.empty() ? -1 : run.layers.front().first},
                              {"last_layer", run.layers.empty() ? -1 : run.layers.back().second},
                              {"layers", run.layers},
                              {"blocks", run.blocks},
                              {"bytes", run.bytes},
                              {"place", place_name(place.place)},
                              {"gpu_share", place.gpu},
                              {"on_disk", place.disk},
                              {"decode_cpu_share", place.decode_cpu},
                              {"prompt_cpu_share", place.prompt_cpu},
                              {"reason", reason_text(place.reason)}});
  }
  json["measured"] = Json::parse(machine_json(machine));
  json["kv_layers_on_gpu"] = std::count(plan.kv_on_gpu.begin(), plan.kv_on_gpu.end(), true);
  json["gpu"] = spending_json(plan.gpu);
  json["ram"] = spending_json(plan.ram);
  json["gpu_ring_bytes"] = plan.gpu_ring_bytes;
  json["disk_ring_bytes"] = plan.disk_ring_bytes;
  json["decode"] = step_json(plan.decode);
  json["decode_tokens_per_second"] = plan.tokens_per_second();
  json["limited_by"] = bottleneck(plan.decode);
  json["prompt_tokens"] = plan.prompt_tokens;
  json["first_token_seconds"] = plan.prompt_seconds;
  json["first_token_seconds_of_four_times_the_prompt"] = plan.long_prompt_seconds;
  json["advice"] = Json::array();
  for (const Advice& advice : plan.advice)
    json["advice"].push_back({{"change", advice.change}, {"factor", advice.factor}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace metallic
