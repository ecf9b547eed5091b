// The sizes and constants of a decoder, read from the metadata of its file and checked.
#pragma once

#include <cstdint>
#include <vector>

#include "metallic/gguf.h"
#include "metallic/result.h"
#include "model/arch_spec.h"

namespace metallic {

struct Config {
  const ArchSpec* spec = nullptr;
  int layers = 0;          // blocks
  int width = 0;           // embedding length
  int ff_width = 0;        // feed-forward length
  int heads = 0;           // query heads
  int kv_heads = 0;        // divides heads
  int head_dim = 0;        // of queries and keys
  int value_dim = 0;       // of values
  int vocab = 0;           // rows of the token embedding
  int context_length = 0;  // positions the model was trained on
  float norm_epsilon = 0;
  float attention_scale = 0;
  float embedding_scale = 1;
  int window = 0;           // positions a local layer sees; 0: all layers see all
  std::vector<bool> local;  // (layers) which layers have the window
  int rope_dims = 0;        // leading elements of a head that are rotated; even
  float rope_base = 0;
  float rope_position_scale = 1;  // positions are multiplied by it (linear scaling: 1 / factor)
  float local_rope_base = 0;      // of layers with a window; no position scaling there

  int query_width() const { return heads * head_dim; }
  int key_width() const { return kv_heads * head_dim; }
  int value_width() const { return kv_heads * value_dim; }
};

// kNotFound, kCorrupt or kUnsupported, naming file and key.
Result<Config> read_config(const GgufFile& file);

}  // namespace metallic
