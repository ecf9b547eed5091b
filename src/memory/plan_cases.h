// Models and machines that nobody has, for the tests of the planner.
#pragma once

#include <cmath>
#include <random>

#include "memory/plan.h"

namespace metallic {

inline Block test_block(BlockKind kind, int layer, uint64_t bytes, int slices = 1) {
  Block block;
  block.kind = kind;
  block.layer = layer;
  block.slices = slices;
  block.file_bytes = bytes;
  block.cpu_bytes = bytes + bytes / 50;
  block.gpu_bytes = bytes + bytes / 100;
  block.operations = 4 * double(bytes);
  return block;
}

// Layers of attention and feed-forward part, or of experts; embedding and head.
inline ModelSizes test_model(int layers, uint64_t attention, uint64_t ffn, int experts = 0, int used = 0,
                             int slices = 1) {
  ModelSizes sizes;
  sizes.name = "test";
  sizes.layers = layers;
  sizes.context_length = 8192;
  for (int layer = 0; layer < layers; ++layer) {
    sizes.blocks.push_back(test_block(BlockKind::kAttention, layer, attention, slices));
    if (experts == 0) sizes.blocks.push_back(test_block(BlockKind::kFeedForward, layer, ffn, slices));
    for (int expert = 0; expert < experts; ++expert) {
      Block block = test_block(BlockKind::kExpert, layer, ffn / uint64_t(experts));
      block.expert = expert;
      block.use = double(used) / experts;
      sizes.blocks.push_back(block);
    }
  }
  sizes.blocks.push_back(test_block(BlockKind::kHead, -1, attention, slices));
  sizes.blocks.push_back(test_block(BlockKind::kEmbedding, -1, attention));
  sizes.blocks.back().read_share = 1e-5;
  sizes.blocks.back().operations = 0;
  sizes.kv_token_bytes = 2048;
  sizes.page_tokens = 64;
  sizes.attention_operations = 16384;
  sizes.attention_row_bytes = 1 << 15;
  sizes.activation_row_bytes = 1 << 17;
  sizes.activation_fixed_bytes = 1 << 20;
  return sizes;
}

// A PC: 24 GB of GPU memory, 64 GB of RAM.
inline Machine test_machine() {
  Machine machine;
  machine.ram_bytes = 64'000'000'000;
  machine.ram_rate = 60e9;
  machine.cpu_rate = 2e12;
  machine.has_gpu = true;
  machine.gpu_bytes = 24'000'000'000;
  machine.gpu_context_bytes = 400'000'000;
  machine.gpu_rate = 900e9;
  machine.gpu_operation_rate = 150e12;
  machine.link_rate = 24e9;
  machine.disk_rate = 4e9;
  return machine;
}

class RandomCase {
 public:
  explicit RandomCase(uint64_t seed) : random_(seed) {}

  // Evenly in the logarithm.
  double scale(double low, double high) {
    return std::exp(std::uniform_real_distribution<double>(std::log(low), std::log(high))(random_));
  }
  int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool one_in(int count) { return whole(1, count) == 1; }

  ModelSizes model() {
    const bool mixture = one_in(3);
    const int experts = mixture ? whole(2, 64) : 0;
    ModelSizes sizes = test_model(whole(1, 40), uint64_t(scale(1e4, 3e8)), uint64_t(scale(1e4, 3e9)), experts,
                                  mixture ? whole(1, experts) : 0, whole(1, 12));
    sizes.kv_token_bytes = uint64_t(scale(64, 1e5));
    sizes.activation_row_bytes = uint64_t(scale(1e3, 1e6));
    if (one_in(2))  // layers that differ
      for (Block& block : sizes.blocks)
        if (one_in(3)) block.file_bytes *= 2, block.cpu_bytes *= 2, block.gpu_bytes *= 2;
    return sizes;
  }
  Machine machine() {
    Machine machine;
    machine.ram_bytes = uint64_t(scale(1e8, 3e11));
    machine.ram_rate = scale(5e9, 5e11);
    machine.cpu_rate = scale(1e11, 1e13);
    machine.disk_rate = scale(1e8, 1e10);
    machine.has_gpu = !one_in(4);
    if (!machine.has_gpu) return machine;
    machine.gpu_bytes = uint64_t(scale(1e8, 1e11));
    machine.gpu_context_bytes = uint64_t(scale(1e7, 1e9));
    machine.gpu_rate = scale(2e10, 4e12);  // also slower than the RAM
    machine.gpu_operation_rate = machine.gpu_rate * scale(20, 400);
    machine.link_rate = scale(1e9, 1e11);
    return machine;
  }
  Constraints constraints() {
    Constraints asked;
    asked.context = whole(16, 16384);
    asked.sequences = one_in(4) ? whole(2, 16) : 1;
    asked.prompt_tokens = whole(1, 4096);
    asked.answer_tokens = whole(0, 1024);
    if (one_in(3)) asked.batch_rows = whole(1, 4096);
    if (one_in(6)) asked.kv_offload = KvOffload::kOff;
    if (one_in(4)) asked.kv_with_gpu = true;
    if (one_in(4)) asked.kv_tokens = whole(1, asked.context * asked.sequences);
    if (one_in(8)) asked.no_disk = true;
    if (one_in(8)) asked.draft_bytes = uint64_t(scale(1e6, 1e9));
    return asked;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace metallic
