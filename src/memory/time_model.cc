#include "memory/time_model.h"

#include <algorithm>
#include <cmath>

namespace metallic {
namespace {

constexpr double kGpuBlock = 12e-6;     // launches of one block's kernels
constexpr double kCpuBlock = 20e-6;     // waking the threads for each of its operations
constexpr double kHandOver = 30e-6;     // a block's inputs to the other side and its outputs back
constexpr double kRingPiece = 5e-6;     // waiting for a piece, and saying that it is free
constexpr double kAlways = 0.95;        // used with this probability, a block is fetched ahead
constexpr double kCpuAttention = 0.04;  // of the integer rate, by attention in float32
constexpr double kGpuAttention = 0.5;   // of the rate of products

double share_used(const Block& block, double tokens) {
  if (block.use >= 1) return 1;
  return 1 - std::pow(1 - block.use, tokens);
}

}  // namespace

Machine with_defaults(Machine machine) {
  const auto assume = [](double& rate, double estimate) {
    if (!(rate > 0)) rate = estimate;
  };
  assume(machine.ram_rate, 25e9);
  assume(machine.ram_traffic_rate, machine.ram_rate);
  assume(machine.cpu_rate, 400e9);
  assume(machine.cpu_decode_rate, 0.75 * machine.ram_rate);
  assume(machine.cpu_prompt_rate, 0.55 * machine.cpu_rate);
  assume(machine.disk_rate, 1e9);
  if (!machine.has_gpu) return machine;
  assume(machine.gpu_rate, 400e9);
  assume(machine.gpu_operation_rate, 200 * machine.gpu_rate);
  assume(machine.gpu_decode_rate, 0.5 * machine.gpu_rate);
  assume(machine.gpu_prompt_rate, 0.4 * machine.gpu_operation_rate);
  assume(machine.link_rate, 12e9);
  return machine;
}

BlockTime block_time(const Block& block, const Machine& machine, double tokens) {
  const double used = share_used(block, tokens);
  const double read = block.read_share < 1 ? std::min(1.0, block.read_share * tokens) : 1;
  const double operations = block.operations * block.use * tokens;
  const double cpu_bytes = double(block.cpu_bytes) * used * read, gpu_bytes = double(block.gpu_bytes) * used * read,
               file_bytes = double(block.file_bytes) * used * read;
  BlockTime time;
  time.ahead = used >= kAlways;
  time.cpu = std::max(cpu_bytes / machine.cpu_decode_rate, operations / machine.cpu_prompt_rate) + used * kCpuBlock;
  time.disk = file_bytes / machine.disk_rate;
  time.ram_cpu = cpu_bytes / machine.ram_traffic_rate;
  time.ram_disk = file_bytes / machine.ram_traffic_rate;
  if (!machine.has_gpu) return time;
  time.gpu = std::max(gpu_bytes / machine.gpu_decode_rate, operations / machine.gpu_prompt_rate) + used * kGpuBlock;
  // What comes through the ring is written before it is read.
  time.streamed = time.gpu + gpu_bytes / machine.gpu_rate + used * kRingPiece * block.slices;
  time.cpu += used * kHandOver;
  time.link = gpu_bytes / machine.link_rate;
  time.ram_link = gpu_bytes / machine.ram_traffic_rate;
  return time;
}

namespace {

struct ShareOfTime {
  double total, cpu, gpu, link;
};

ShareOfTime with_share(const StepLoad& load, double share) {
  ShareOfTime time;
  time.cpu = load.cpu + share * load.shared_cpu;
  time.gpu = load.gpu + (1 - share) * load.shared_gpu;
  time.link = (1 - share) * load.shared_link;
  // One layer after the other: CPU and GPU work at the same time only on the blocks that they share.
  const double chain =
      load.gpu + load.cpu + load.demand + std::max(share * load.shared_cpu, (1 - share) * load.shared_gpu);
  const double ram = load.ram + share * load.ram_cpu + (1 - share) * load.ram_link;
  time.total = std::max({chain, time.link, load.disk, ram});
  return time;
}

}  // namespace

StepTime step_time(const StepLoad& load, bool streams, double& cpu_share) {
  cpu_share = 1;
  ShareOfTime best = with_share(load, 1);
  if (streams && load.shared_cpu > 0) {
    // The total is the greatest of some straight lines over the share: least at an end or where a rising one meets a
    // falling one.
    const auto try_share = [&](double share) {
      if (!(share >= 0 && share < 1)) return;
      const ShareOfTime time = with_share(load, share);
      if (time.total < best.total || (time.total == best.total && share > cpu_share)) best = time, cpu_share = share;
    };
    const double base = load.gpu + load.cpu + load.demand;
    const double ram_slope = load.ram_cpu - load.ram_link;
    struct Line {
      double at_zero, slope;
    };
    const Line lines[] = {{base, load.shared_cpu},
                          {base + load.shared_gpu, -load.shared_gpu},
                          {load.shared_link, -load.shared_link},
                          {load.ram + load.ram_link, ram_slope}};
    try_share(0);
    for (int i = 0; i < 4; ++i)
      for (int j = i + 1; j < 4; ++j)
        if (lines[i].slope != lines[j].slope)
          try_share((lines[j].at_zero - lines[i].at_zero) / (lines[i].slope - lines[j].slope));
  }
  return {load.fixed + best.total, best.cpu, best.gpu, best.link, load.disk, load.fixed};
}

double cpu_attention_decode(const ModelSizes& sizes, const Machine& machine, double depth) {
  return sizes.layers * depth * double(sizes.kv_token_bytes) / machine.cpu_decode_rate;
}
double gpu_attention_decode(const ModelSizes& sizes, const Machine& machine, double depth) {
  return sizes.layers * depth * double(sizes.kv_token_bytes) / machine.gpu_decode_rate;
}
double cpu_attention_prompt(const ModelSizes& sizes, const Machine& machine, double tokens) {
  return sizes.layers * sizes.attention_operations * tokens * tokens / 2 / (kCpuAttention * machine.cpu_rate);
}
double gpu_attention_prompt(const ModelSizes& sizes, const Machine& machine, double tokens) {
  return sizes.layers * sizes.attention_operations * tokens * tokens / 2 / (kGpuAttention * machine.gpu_prompt_rate);
}

}  // namespace metallic
