#include "memory/time_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace metallic {
namespace {

constexpr double kGpuBlock = 12e-6;     // launches of one block's kernels
constexpr double kCpuBlock = 20e-6;     // waking the threads for each of its operations
constexpr double kHandOver = 15e-6;     // inputs of a product to the other side and its outputs back
constexpr double kFileShare = 0.6;      // of the CPU's rate, where rows are packed for each use
constexpr double kRingPiece = 5e-6;     // waiting for a piece, and saying that it is free
constexpr double kAlways = 0.95;        // used with this probability, a block is fetched ahead
constexpr double kCpuAttention = 0.04;  // of the integer rate, by attention in float32
constexpr double kGpuAttention = 0.5;   // of the rate of products

double share_used(const Block& block, double tokens) {
  if (block.use >= 1) return 1;
  return 1 - std::pow(1 - block.use, tokens);
}

// With few tokens the CPU multiplies meanwhile.
double link_rate(const Machine& machine, bool few) { return few ? machine.link_shared_rate : machine.link_rate; }

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
  assume(machine.cpu_head_rate, machine.cpu_decode_rate);
  assume(machine.cpu_file_rate, kFileShare * machine.cpu_decode_rate);
  assume(machine.cpu_product_rate, machine.cpu_decode_rate);
  assume(machine.cpu_attention_rate, machine.cpu_decode_rate);
  assume(machine.cpu_attention_operation_rate, kCpuAttention * machine.cpu_rate);
  if (machine.cpu_block_seconds < 0) machine.cpu_block_seconds = kCpuBlock;
  assume(machine.disk_rate, 1e9);
  if (!machine.has_gpu) return machine;
  assume(machine.gpu_rate, 400e9);
  assume(machine.gpu_operation_rate, 200 * machine.gpu_rate);
  assume(machine.gpu_decode_rate, 0.5 * machine.gpu_rate);
  assume(machine.gpu_prompt_rate, 0.4 * machine.gpu_operation_rate);
  assume(machine.gpu_long_prompt_rate, machine.gpu_prompt_rate);
  assume(machine.gpu_head_rate, machine.gpu_decode_rate);
  assume(machine.gpu_attention_rate, machine.gpu_decode_rate);
  assume(machine.gpu_attention_operation_rate, kGpuAttention * machine.gpu_prompt_rate);
  if (machine.gpu_block_seconds < 0) machine.gpu_block_seconds = kGpuBlock;
  assume(machine.link_rate, 12e9);
  assume(machine.link_shared_rate, machine.link_rate);
  assume(machine.handover_seconds, kHandOver);
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
  const bool head = block.kind == BlockKind::kHead;
  const double cpu_rate = head ? machine.cpu_head_rate : machine.cpu_decode_rate;
  const double overhead = used * machine.cpu_block_seconds;
  // Beside a GPU the CPU has products alone to do, and shares the RAM with the link; but while it multiplies by experts
  // that were just chosen, nothing is copied.
  const bool shares_ram = machine.has_gpu && time.ahead;
  time.cpu =
      std::max(cpu_bytes / (shares_ram ? machine.cpu_product_rate : cpu_rate), operations / machine.cpu_prompt_rate) +
      overhead;
  // First packed, which the time of one token contains, then multiplied by the others.
  const double first = operations / std::max(1.0, tokens);
  time.cpu_file = std::max(file_bytes / machine.cpu_file_rate, first / machine.cpu_prompt_rate) +
                  (operations - first) / machine.cpu_prompt_rate + overhead;
  time.disk = file_bytes / machine.disk_rate;
  time.ram_cpu = cpu_bytes / machine.ram_traffic_rate;
  time.ram_disk = file_bytes / machine.ram_traffic_rate;
  if (!machine.has_gpu) return time;
  const double gpu_rate = head ? machine.gpu_head_rate : machine.gpu_decode_rate;
  const double first_tokens = std::min(1.0, kUsualStep / std::max(1.0, tokens));
  const double multiplying =
      operations * (first_tokens / machine.gpu_prompt_rate + (1 - first_tokens) / machine.gpu_long_prompt_rate);
  time.gpu = std::max(gpu_bytes / gpu_rate, multiplying) + used * machine.gpu_block_seconds;
  // What comes through the ring is written before it is read.
  time.streamed = time.gpu + gpu_bytes / machine.gpu_rate + used * kRingPiece * block.slices;
  time.handover = used * block.products * machine.handover_seconds;
  time.link = gpu_bytes / link_rate(machine, tokens <= kFewTokens);
  time.ram_link = gpu_bytes / machine.ram_traffic_rate;
  return time;
}

namespace {

struct ShareOfTime {
  double total, busy, cpu, gpu, link, handover;  // busy: without the RAM's traffic
};

ShareOfTime with_share(const StepLoad& load, double share) {
  ShareOfTime time;
  time.cpu = load.cpu + share * load.shared_cpu;
  time.gpu = load.gpu + (1 - share) * load.shared_gpu;
  time.link = load.link + (1 - share) * load.shared_link;
  // One layer after the other: CPU and GPU work at the same time only on the blocks that they share.
  time.handover = load.demand_handover + (share > 0 ? load.handover : 0);
  const double shared = std::max(share * load.shared_cpu, (1 - share) * load.shared_gpu);
  const double chain = load.gpu + load.cpu + load.demand + time.handover + shared;
  const double ram = load.ram + share * load.ram_cpu + (1 - share) * load.ram_link;
  // While the others compute, the link fills the ring, and then waits.
  const double alone = chain - load.brought - shared;
  time.busy = std::max({chain, time.link + std::max(0.0, alone - load.lead), load.disk});
  time.total = std::max(time.busy, ram);
  return time;
}

}  // namespace

// This and the next fitted to what rings of 4 to 24 pieces gave: docs/streaming.md.
double ring_lead(const Machine& machine, int pieces, uint64_t piece_bytes, bool few) {
  constexpr double kReached = 0.65;  // in long steps, whose products come at uneven intervals
  return (few ? 1 : kReached) * double(pieces / 2 - 1) * double(piece_bytes) / link_rate(machine, few);
}

// The rate of the RAM is as with eight.
void slow_link(StepLoad& load, int pieces) {
  constexpr double kLost = 0.8, kUsual = 8;  // pieces
  const double slower = (pieces + kLost) / pieces;
  load.link *= slower;
  load.shared_link *= slower;
  load.ram_link *= slower / ((kUsual + kLost) / kUsual);
}

StepTime step_time(const StepLoad& load, Sharing sharing, double& cpu_share) {
  cpu_share = sharing == Sharing::kLink ? 0 : 1;
  ShareOfTime chosen = with_share(load, cpu_share);
  double least = chosen.total;
  if (sharing == Sharing::kBoth && load.shared_cpu > 0) {
    // The total is the greatest of some straight lines over the share: least at an end or where a rising one meets a
    // falling one.
    const double base = load.gpu + load.cpu + load.demand + load.demand_handover + load.handover;
    const double ram_slope = load.ram_cpu - load.ram_link;
    struct Line {
      double at_zero, slope;
    };
    const Line lines[] = {
        {base, load.shared_cpu},
        {base + load.shared_gpu, -load.shared_gpu},
        {load.link + load.shared_link + std::max(0.0, base - load.brought - load.lead), -load.shared_link},
        {load.ram + load.ram_link, ram_slope}};
    std::array<double, 8> shares = {1, 0};
    size_t count = 2;
    for (int i = 0; i < 4; ++i)
      for (int j = i + 1; j < 4; ++j)
        if (lines[i].slope != lines[j].slope)
          shares[count++] = (lines[j].at_zero - lines[i].at_zero) / (lines[i].slope - lines[j].slope);
    const auto end = std::remove_if(shares.begin(), shares.begin() + count,
                                    [](double share) { return !(share >= 0 && share <= 1); });
    const std::span<const double> candidates(shares.begin(), end);
    for (const double share : candidates) least = std::min(least, with_share(load, share).total);
    for (const double share : candidates) {
      const ShareOfTime time = with_share(load, share);
      if (is_preferred(time, chosen, least)) chosen = time, cpu_share = share;
    }
  }
  return {load.fixed + least, load.fixed + chosen.busy, chosen.cpu, chosen.gpu, chosen.link,
          load.disk,          chosen.handover,          load.fixed};
}

namespace {

// Beside a GPU: what attention of the CPU needs comes from there, and goes back, in each layer.
double attention_handover(const ModelSizes& sizes, const Machine& machine, double tokens) {
  if (!machine.has_gpu) return 0;
  return sizes.layers * (machine.handover_seconds + tokens * double(sizes.attention_row_bytes) / machine.link_rate);
}

}  // namespace

double cpu_attention_decode(const ModelSizes& sizes, const Machine& machine, double depth) {
  return sizes.layers * depth * double(sizes.kv_token_bytes) / machine.cpu_attention_rate +
         attention_handover(sizes, machine, 1);
}
double gpu_attention_decode(const ModelSizes& sizes, const Machine& machine, double depth) {
  return sizes.layers * depth * double(sizes.kv_token_bytes) / machine.gpu_attention_rate;
}
double cpu_attention_prompt(const ModelSizes& sizes, const Machine& machine, double tokens) {
  return sizes.layers * sizes.attention_operations * tokens * tokens / 2 / machine.cpu_attention_operation_rate +
         attention_handover(sizes, machine, tokens);
}
double gpu_attention_prompt(const ModelSizes& sizes, const Machine& machine, double tokens) {
  return sizes.layers * sizes.attention_operations * tokens * tokens / 2 / machine.gpu_attention_operation_rate;
}

}  // namespace metallic
