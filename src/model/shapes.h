// Shapes of well-known models: all sizes that decide how fast one runs, without its weights. The numbers are those of
// the config.json that each model was published with.
#pragma once

#include <span>
#include <string_view>

#include "metallic/result.h"

namespace metallic {

struct ModelShape {
  std::string_view name;
  std::string_view architecture;
  int layers;
  int width;
  int ff_width;
  int heads, kv_heads, head_dim;
  int vocab;
  float rope_base;
  bool own_head;         // output.weight beside token_embd.weight
  int experts = 0;       // 0: no mixture
  int experts_used = 0;  // for each token
  int expert_width = 0;
  int dense_layers = 0;  // that have no experts, at the beginning
  int shared_experts = 0;
  // Latent attention: kv_heads is 1 and head_dim is latent_rank + rope_dims.
  int query_rank = 0, latent_rank = 0;  // 0: none
  int nope_dim = 0, rope_dims = 0, value_dim = 0;

  bool has_biases() const { return architecture == "qwen2"; }  // on Q, K and V
  bool has_head_norms() const { return architecture.starts_with("qwen3"); }
};

// By family, and in it from small to large.
std::span<const ModelShape> model_shapes();
// Upper or lower case. kInvalidArgument lists all.
Result<ModelShape> find_model_shape(std::string_view name);

}  // namespace metallic
