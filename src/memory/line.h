// The blocks of a model in one order of importance, cut into slices: the GPU gets the first of them, RAM the next, and
// what is left is read from disk. Sums over any such cut cost no time.
#pragma once

#include <cstdint>
#include <vector>

#include "memory/plan.h"
#include "memory/time_model.h"

namespace metallic {

enum class BlockOrder {
  kByLayer,        // whole layers, the head last: few layers whose work goes to and fro
  kHeadFirst,      // the same, the head first
  kAttentionFirst  // of all layers, then the head, then feed-forward parts
};

// Where keys and values live.
enum class KvPlace {
  kRam,
  kGpu,
  kWithAttention  // those of a layer on the GPU if the whole block of its attention stays there
};

// Of each block whether it is of the `gpu_layers` layers that were asked for (-1: none): they are spread evenly over
// the model. The head is asked for by more than all layers.
std::vector<bool> asked_blocks(const ModelSizes& sizes, int gpu_layers);
// The order of the blocks: what was asked for first; what is looked up comes last, experts by how often they are used.
std::vector<int> ordered_blocks(const ModelSizes& sizes, BlockOrder order, const std::vector<bool>& asked);

// One kind of step: some tokens at once.
struct StepKind {
  double tokens = 1;
  double head_share = 1;                        // of the steps, that need the head, for one token
  double cpu_attention = 0, gpu_attention = 0;  // seconds of all layers
};

class Line {
 public:
  Line(const ModelSizes& sizes, const Machine& machine, std::vector<int> order, KvPlace kv_place,
       uint64_t kv_layer_bytes, bool streams);

  int slices() const { return int(slices_.size()); }
  int block_of(int slice) const { return slices_[size_t(slice)]; }

  // Bytes of the first `count` slices, with the keys and values that go with them.
  uint64_t gpu_bytes(int count) const { return gpu_bytes_[size_t(count)]; }
  // The most slices that fit.
  int most_on_gpu(uint64_t bytes) const;
  // Keys and values in RAM if the first `on_gpu` slices are on the GPU.
  uint64_t kv_in_ram(int on_gpu) const;
  uint64_t ram_bytes(int from, int to) const { return ram_bytes_[size_t(to)] - ram_bytes_[size_t(from)]; }
  // Where RAM ends if slices from `from` on fill it: at the end of a block, or at `from`.
  int most_in_ram(int from, uint64_t bytes) const;
  // Layers whose keys and values are on the GPU.
  std::vector<bool> kv_on_gpu(int on_gpu) const;

  // Layers of which a product's weight is not on the GPU: between them, and behind them, are those that are.
  int layers_brought(int on_gpu) const { return layers_behind_[size_t(on_gpu)]; }

  // Of blocks that CPU and GPU may share: if one did them all.
  struct BlockSums {
    double cpu = 0, gpu = 0, link = 0, handover = 0, ram_cpu = 0, ram_link = 0;
    void add(const BlockSums& other, double factor);
  };
  // Sums over a kind of step, to be handed to load().
  struct Sums {
    double gpu = 0;                                                               // on the GPU
    double demand_cpu = 0, demand_copy = 0, demand_handover = 0, ram_demand = 0;  // in RAM, wanted only then
    // In RAM, on their way before they are wanted: attention, and all others.
    BlockSums attention, others;
    double demand_disk = 0, demand_file = 0;                                   // on disk, wanted only then
    double disk = 0, disk_cpu = 0, disk_gpu = 0, disk_link = 0, ram_disk = 0;  // on disk
    void add(const Sums& other, double factor);
  };
  std::vector<Sums> sums(const StepKind& kind) const;
  // Slices [0, on_gpu) stay on the GPU, [on_gpu, in_ram) in RAM, the others on disk. With `attention_comes` all of
  // RAM's attention is copied, and nothing of it handed over.
  StepLoad load(const StepKind& kind, const std::vector<Sums>& sums, int on_gpu, int in_ram,
                bool attention_comes) const;

 private:
  void share_head(Sums& head) const;
  Sums slice_sums(const Block& block, const StepKind& kind) const;
  void add_expert_handovers(const StepKind& kind, std::vector<Sums>& sums) const;

  const ModelSizes& sizes_;
  const Machine& machine_;
  KvPlace kv_place_;
  uint64_t kv_layer_bytes_;
  bool streams_;
  std::vector<int> slices_;                      // block of each
  std::vector<uint64_t> gpu_bytes_, ram_bytes_;  // (slices + 1) of the slices before
  std::vector<int> attentions_;                  // (slices + 1) layers whose attention is whole before
  std::vector<int> layers_behind_;               // (slices + 1) layers of which there is a slice behind
  std::vector<int> block_end_;                   // (slices + 1) the last end of a block at or before
};

}  // namespace metallic
