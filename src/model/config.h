// The sizes and constants of a model, read from the metadata of its file and checked.
#pragma once

#include <cstdint>
#include <vector>

#include "metallic/gguf.h"
#include "metallic/result.h"
#include "model/arch_spec.h"

namespace metallic {

enum class RopeScaling { kNone, kLinear, kYarn, kLongRope };

struct RopeConfig {
  int dims = 0;  // elements of a head that are rotated; even
  float base = 0;
  float local_base = 0;         // of layers with a window
  bool local_is_plain = false;  // layers with a window have a base of their own, and no scaling
  RopeScaling scaling = RopeScaling::kNone;
  float factor = 1;              // linear, yarn: how much longer the context became
  int original_context = 0;      // yarn, longrope: positions before that
  float magnitude = 1;           // yarn, longrope: factor on the rotated elements
  bool magnitude_given = false;  // by the file itself
  float dynamic_factor = 1;      // > 1: the base grows with the context ("dynamic NTK")
  float beta_fast = 32,
        beta_slow = 1;            // yarn (arXiv:2309.00071): rotations between which it goes over from none to all
  float extrapolation = 1;        // yarn: how much of that is done
  bool truncate = true;           // yarn: the two ends are whole dimensions
  float yarn_log_multiplier = 0;  // yarn in DeepSeek's latent attention
};

struct ExpertConfig {
  int count = 0;  // 0: no mixture
  int used = 0;
  int width = 0;         // feed-forward length of an expert
  int shared_width = 0;  // of the shared expert; known once the weights are loaded
  int every = 0;         // layer i is a mixture if and only if i % every == 1; 0: as its tensors say
  int groups = 1, groups_used = 1;
  RouterKind router = RouterKind::kSoftmax;
  bool normalise = true;
  float scale = 1;
};

// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434).
struct LatentConfig {
  int query_rank = 0;  // 0: queries are projected directly
  int rank = 0;        // of keys and values; 0: ordinary attention
  int nope_dim = 0;    // elements of a head without rope; rope.dims are behind them
  int value_dim = 0;   // of a head, after the latent values have been projected
};

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
  bool attention_scale_given = false;
  float attention_softcap = 0, final_softcap = 0;  // 0: none
  float alibi = 0;                                 // the largest linear bias of attention (backend/alibi.h); 0: none
  float embedding_scale = 1, residual_scale = 1, logit_scale = 1;
  bool parallel_residual = false;
  bool causal = true;
  int window = 0;           // positions a local layer sees; 0: all layers see all
  std::vector<bool> local;  // (layers) which layers have the window
  std::vector<bool> roped;  // (layers) which have rope; empty: as the architecture says
  RopeConfig rope;
  ExpertConfig experts;
  LatentConfig latent;

  int query_width() const { return heads * head_dim; }
  int key_width() const { return kv_heads * head_dim; }
  int value_width() const { return kv_heads * value_dim; }
  bool has_rope(int layer) const {
    if (!roped.empty()) return roped[size_t(layer)];
    return spec->rope && (spec->no_rope_every == 0 || (layer + 1) % spec->no_rope_every != 0);
  }
};

// kNotFound, kCorrupt or kUnsupported, naming file and key.
Result<Config> read_config(const GgufFile& file);

}  // namespace metallic
