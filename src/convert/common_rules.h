// Rules that several architectures share, for join_rules.
#pragma once

#include "convert/tensor_rules.h"
#include "convert/transforms.h"

namespace metallic::convert {

inline constexpr auto kEnds = std::to_array<TensorRule>({
    {"embed_tokens", "token_embd", "VW"},
    {"norm", "output_norm", "W"},
    {"lm_head", "output", "VW", copy_tensor, false},
});

inline constexpr auto kNormsBefore = std::to_array<TensorRule>({
    {"layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W"},
    {"layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", "W"},
});

inline constexpr auto kAttention = std::to_array<TensorRule>({
    {"layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", "QW"},
    {"layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", "RW"},
    {"layers.{b}.self_attn.v_proj", "blk.{b}.attn_v", "RW"},
    {"layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", "WQ"},
});

inline constexpr auto kGatedFeedForward = std::to_array<TensorRule>({
    {"layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate", "FW"},
    {"layers.{b}.mlp.up_proj", "blk.{b}.ffn_up", "FW"},
    {"layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", "WF"},
});

// E experts of length X (Y = 2 X), one by one or stacked as transformers 5 holds them; some blocks are dense.
inline constexpr auto kExpertsOrDense = std::to_array<TensorRule>({
    {"layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate", "FW", copy_tensor, false},
    {"layers.{b}.mlp.up_proj", "blk.{b}.ffn_up", "FW", copy_tensor, false},
    {"layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", "WF", copy_tensor, false},
    {"layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp", "EW", copy_tensor, false},
    {"layers.{b}.mlp.experts.{x}.gate_proj", "blk.{b}.ffn_gate_exps", "XW", stack_experts, false},
    {"layers.{b}.mlp.experts.{x}.up_proj", "blk.{b}.ffn_up_exps", "XW", stack_experts, false},
    {"layers.{b}.mlp.experts.{x}.down_proj", "blk.{b}.ffn_down_exps", "WX", stack_experts, false},
    {"layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps,blk.{b}.ffn_up_exps", "EYW", split_halves, false},
    {"layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", "EWX", copy_tensor, false},
});

}  // namespace metallic::convert
