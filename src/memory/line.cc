#include "memory/line.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>
#include <utility>

namespace metallic {
namespace {

constexpr double kStep = 50e-6;  // of a step, whatever it does: batches, sampling

// What of a block a slice is: bytes so that all slices together are the block.
uint64_t part(uint64_t bytes, int slice, int slices) {
  return bytes / uint64_t(slices) + (uint64_t(slice) < bytes % uint64_t(slices) ? 1 : 0);
}

bool costs_the_same(const Block& a, const Block& b) {
  return a.kind == b.kind && a.slices == b.slices && a.file_bytes == b.file_bytes && a.cpu_bytes == b.cpu_bytes &&
         a.gpu_bytes == b.gpu_bytes && a.read_share == b.read_share && a.operations == b.operations && a.use == b.use;
}

// The place of each layer in an order of which any beginning is spread evenly over the model, as multiples of the
// golden ratio are over the circle: what is copied for the layers that are left comes while those between them compute.
std::vector<int> layer_ranks(int layers) {
  constexpr double kGoldenRatio = 0.6180339887498949;
  std::vector<int> order(size_t(std::max(0, layers))), ranks(order.size());
  std::iota(order.begin(), order.end(), 0);
  const auto at = [](int layer) { return std::fmod(layer * kGoldenRatio, 1.0); };
  std::sort(order.begin(), order.end(), [&](int a, int b) { return std::pair(at(a), a) < std::pair(at(b), b); });
  for (size_t rank = 0; rank < order.size(); ++rank) ranks[size_t(order[rank])] = int(rank);
  return ranks;
}

}  // namespace

std::vector<bool> asked_blocks(const ModelSizes& sizes, int gpu_layers) {
  const std::vector<int> ranks = layer_ranks(sizes.layers);
  std::vector<bool> asked;
  for (const Block& block : sizes.blocks)
    asked.push_back(block.kind == BlockKind::kHead ? gpu_layers > sizes.layers
                                                   : block.layer >= 0 && ranks[size_t(block.layer)] < gpu_layers);
  return asked;
}

std::vector<int> ordered_blocks(const ModelSizes& sizes, BlockOrder order, const std::vector<bool>& asked) {
  const std::vector<int> ranks = layer_ranks(sizes.layers);
  std::vector<int> blocks(sizes.blocks.size());
  std::iota(blocks.begin(), blocks.end(), 0);
  // First what was asked for, then groups, then experts by use, then layers, spread.
  const auto key = [&](int index) {
    const Block& block = sizes.blocks[size_t(index)];
    const int rank = block.layer >= 0 ? ranks[size_t(block.layer)] : -1;
    int group = 2;
    switch (block.kind) {
      case BlockKind::kAttention:
        group = order == BlockOrder::kAttentionFirst ? 0 : 2;
        break;
      case BlockKind::kFeedForward:
        group = 2;
        break;
      case BlockKind::kHead:
        group = order == BlockOrder::kHeadFirst ? 0 : order == BlockOrder::kAttentionFirst ? 1 : 3;
        break;
      case BlockKind::kExpert:
        group = 4;
        break;
      case BlockKind::kEmbedding:
        group = 5;
        break;
    }
    return std::tuple(!asked[size_t(index)], group, group == 4 ? -block.use : 0.0, rank, index);
  };
  std::sort(blocks.begin(), blocks.end(), [&](int a, int b) { return key(a) < key(b); });
  return blocks;
}

Line::Line(const ModelSizes& sizes, const Machine& machine, std::vector<int> order, KvPlace kv_place,
           uint64_t kv_layer_bytes, bool streams)
    : sizes_(sizes),
      machine_(machine),
      kv_place_(kv_place),
      kv_layer_bytes_(kv_layer_bytes),
      streams_(streams),
      gpu_bytes_{0},
      ram_bytes_{0},
      attentions_{0},
      block_end_{0} {
  for (const int index : order) {
    const Block& block = sizes.blocks[size_t(index)];
    for (int slice = 0; slice < block.slices; ++slice) {
      const bool last = slice + 1 == block.slices;
      const bool with_kv = last && block.kind == BlockKind::kAttention;
      slices_.push_back(index);
      gpu_bytes_.push_back(gpu_bytes_.back() + part(block.gpu_bytes, slice, block.slices) +
                           (with_kv && kv_place == KvPlace::kWithAttention ? kv_layer_bytes : 0));
      // With a ring they are there twice: as the CPU multiplies by them, and as the GPU is given them.
      const bool twice = streams && block.kind != BlockKind::kEmbedding;
      ram_bytes_.push_back(ram_bytes_.back() + part(block.cpu_bytes, slice, block.slices) +
                           (twice ? part(block.gpu_bytes, slice, block.slices) : 0));
      attentions_.push_back(attentions_.back() + int(with_kv));
      block_end_.push_back(last ? int(slices_.size()) : block_end_.back());
    }
  }
  layers_behind_.assign(slices_.size() + 1, 0);
  std::vector<bool> seen(size_t(std::max(0, sizes.layers)), false);
  for (size_t i = slices_.size(); i-- > 0;) {
    const Block& block = sizes.blocks[size_t(slices_[i])];
    const bool fresh = block.layer >= 0 && !seen[size_t(block.layer)];
    if (fresh) seen[size_t(block.layer)] = true;
    layers_behind_[i] = layers_behind_[i + 1] + int(fresh);
  }
}

int Line::most_on_gpu(uint64_t bytes) const {
  return int(std::upper_bound(gpu_bytes_.begin(), gpu_bytes_.end(), bytes) - gpu_bytes_.begin()) - 1;
}

uint64_t Line::kv_in_ram(int on_gpu) const {
  if (kv_place_ == KvPlace::kGpu) return 0;
  const int layers = kv_place_ == KvPlace::kRam ? sizes_.layers : sizes_.layers - attentions_[size_t(on_gpu)];
  return kv_layer_bytes_ * uint64_t(layers);
}

int Line::most_in_ram(int from, uint64_t bytes) const {
  const uint64_t end = ram_bytes_[size_t(from)] + bytes;
  const int fits = int(std::upper_bound(ram_bytes_.begin(), ram_bytes_.end(), end) - ram_bytes_.begin()) - 1;
  return std::max(from, block_end_[size_t(fits)]);
}

std::vector<bool> Line::kv_on_gpu(int on_gpu) const {
  std::vector<bool> result(size_t(sizes_.layers), kv_place_ == KvPlace::kGpu);
  if (kv_place_ != KvPlace::kWithAttention) return result;
  for (int i = 0; i < on_gpu; ++i) {
    const Block& block = sizes_.blocks[size_t(block_of(i))];
    if (block.kind == BlockKind::kAttention && attentions_[size_t(i) + 1] > attentions_[size_t(i)])
      result[size_t(block.layer)] = true;
  }
  return result;
}

void Line::BlockSums::add(const BlockSums& other, double factor) {
  constexpr double BlockSums::*kAll[] = {&BlockSums::cpu,      &BlockSums::gpu,     &BlockSums::link,
                                         &BlockSums::handover, &BlockSums::ram_cpu, &BlockSums::ram_link};
  for (double BlockSums::*one : kAll) this->*one += factor * other.*one;
}

void Line::Sums::add(const Sums& other, double factor) {
  constexpr double Sums::*kAll[] = {&Sums::gpu,        &Sums::demand_cpu,  &Sums::demand_copy, &Sums::demand_handover,
                                    &Sums::ram_demand, &Sums::demand_disk, &Sums::demand_file, &Sums::disk,
                                    &Sums::disk_cpu,   &Sums::disk_gpu,    &Sums::disk_link,   &Sums::ram_disk};
  for (double Sums::*one : kAll) this->*one += factor * other.*one;
  attention.add(other.attention, factor);
  others.add(other.others, factor);
}

// Of the head the CPU has its share in long steps, too, which ask for few outputs; the others come for it alone.
void Line::share_head(Sums& head) const {
  const double share = machine_.cpu_product_rate / (machine_.cpu_product_rate + machine_.link_shared_rate);
  head.demand_cpu = share * head.others.cpu;
  head.ram_demand = share * head.others.ram_cpu;
  for (double BlockSums::*part : {&BlockSums::gpu, &BlockSums::link, &BlockSums::ram_link})
    head.others.*part *= 1 - share;
}

Line::Sums Line::slice_sums(const Block& block, const StepKind& kind) const {
  const bool head = block.kind == BlockKind::kHead;
  const BlockTime time = block_time(block, machine_, head ? 1 : kind.tokens);
  Sums whole, slice;
  whole.gpu = time.gpu;
  if (block.kind == BlockKind::kEmbedding) {  // a row at a time: where it is
    whole.demand_cpu = whole.demand_file = time.cpu;
    whole.demand_disk = time.disk;
    whole.ram_demand = time.ram_cpu;
    whole.ram_disk = time.ram_disk + time.ram_cpu;
    slice.add(whole, 1.0 / block.slices);
    return slice;
  }
  if (time.ahead) {
    (block.kind == BlockKind::kAttention ? whole.attention : whole.others) = {
        time.cpu, time.streamed, time.link, time.handover, time.ram_cpu, time.ram_link};
    if (head && streams_ && kind.tokens > kFewTokens) share_head(whole);
  } else {
    const bool copied = copies_on_demand(kind.tokens, streams_);
    (copied ? whole.demand_copy : whole.demand_cpu) = copied ? time.link + time.streamed : time.cpu;
    whole.ram_demand = copied ? time.ram_link : time.ram_cpu;
  }
  if (!time.ahead || block.kind == BlockKind::kExpert) {  // the CPU reads what was chosen, and multiplies by it
    whole.demand_disk = time.disk;
    whole.demand_file = time.cpu_file;
    whole.ram_disk = time.ram_disk + time.ram_cpu;
  } else {  // it goes on to the GPU, or is multiplied by as it comes
    whole.disk = time.disk;
    if (machine_.has_gpu) {
      whole.disk_gpu = time.streamed;
      whole.disk_link = time.link;
      whole.ram_disk = time.ram_disk + time.ram_link;
    } else {
      whole.disk_cpu = time.cpu_file;
      whole.ram_disk = time.ram_disk + time.ram_cpu;
    }
  }
  slice.add(whole, (head ? kind.head_share : 1) / block.slices);
  return slice;
}

std::vector<Line::Sums> Line::sums(const StepKind& kind) const {
  std::vector<Sums> result(1);
  result.reserve(slices_.size() + 1);
  Sums slice;
  const Block* before = nullptr;
  for (const int index : slices_) {
    const Block& block = sizes_.blocks[size_t(index)];
    if (before == nullptr || !costs_the_same(*before, block)) slice = slice_sums(block, kind);
    before = &block;
    result.push_back(result.back());
    result.back().add(slice, 1);
  }
  if (machine_.has_gpu) add_expert_handovers(kind, result);
  return result;
}

// A layer of experts is handed over once, if the tokens choose any that the CPU has: what a slice adds to that is how
// much less probable it becomes when the slice goes to the GPU, after those before it.
void Line::add_expert_handovers(const StepKind& kind, std::vector<Sums>& sums) const {
  std::vector<double> of_slice(slices_.size(), 0);     // minus the logarithm of the probability that nobody chooses it
  std::vector<double> left(size_t(sizes_.layers), 0);  // the same of all slices of a layer that the CPU has
  const Block* before = nullptr;
  double one = 0;
  for (size_t i = 0; i < slices_.size(); ++i) {
    const Block& block = sizes_.blocks[size_t(slices_[i])];
    if (block.kind != BlockKind::kExpert || block.layer < 0) continue;
    if (before == nullptr || !costs_the_same(*before, block)) {
      const BlockTime time = block_time(block, machine_, kind.tokens);
      const bool by_cpu = !time.ahead && !copies_on_demand(kind.tokens, streams_);
      one = by_cpu ? -kind.tokens * std::log1p(-block.use) / block.slices : 0;
    }
    before = &block;
    of_slice[i] = one;
    left[size_t(block.layer)] += one;
  }
  std::vector<double> nobody;  // chooses any of a layer
  for (const double each : left) nobody.push_back(std::exp(-each));
  double sum = 0;
  for (size_t i = 0; i < slices_.size(); ++i) {
    if (of_slice[i] > 0) {
      const Block& block = sizes_.blocks[size_t(slices_[i])];
      double& of_layer = left[size_t(block.layer)];
      of_layer = std::max(0.0, of_layer - of_slice[i]);
      const double then = std::exp(-of_layer);
      sum += (then - std::exchange(nobody[size_t(block.layer)], then)) * machine_.handover_seconds;
    }
    sums[i + 1].demand_handover += sum;
  }
}

StepLoad Line::load(const StepKind& kind, const std::vector<Sums>& sums, int on_gpu, int in_ram,
                    bool attention_comes) const {
  const Sums& gpu = sums[size_t(on_gpu)];
  Sums rest = sums.back(), disk = sums.back();
  rest.add(gpu, -1);
  disk.add(sums[size_t(in_ram)], -1);
  if (on_gpu == slices()) rest = {};  // no crumbs of rounding
  if (in_ram == slices()) disk = {};
  const double with_kv = kv_place_ == KvPlace::kRam || sizes_.layers == 0 ? 0
                         : kv_place_ == KvPlace::kGpu                     ? 1
                                                      : double(attentions_[size_t(on_gpu)]) / sizes_.layers;
  Sums ram = rest;  // what is there
  ram.add(disk, -1);
  if (in_ram <= on_gpu) ram = {};
  StepLoad load;
  load.brought = disk.disk_gpu;
  load.link = disk.disk_link;
  load.ram = ram.ram_demand + disk.ram_disk;
  BlockSums shared = ram.others;
  if (attention_comes) {
    load.brought += ram.attention.gpu;
    load.link += ram.attention.link;
    load.ram += ram.attention.ram_link;
  } else {
    shared.add(ram.attention, 1);
  }
  load.gpu = gpu.gpu + with_kv * kind.gpu_attention + load.brought;
  load.cpu = (1 - with_kv) * kind.cpu_attention + ram.demand_cpu + disk.demand_file + disk.disk_cpu;
  load.demand = ram.demand_copy + disk.demand_disk;
  load.demand_handover = rest.demand_handover;
  load.disk = disk.disk + disk.demand_disk;
  load.shared_cpu = shared.cpu;
  load.shared_gpu = shared.gpu;
  load.shared_link = shared.link;
  load.handover = shared.handover;
  load.ram_cpu = shared.ram_cpu;
  load.ram_link = shared.ram_link;
  load.fixed = kStep;
  return load;
}

}  // namespace metallic
