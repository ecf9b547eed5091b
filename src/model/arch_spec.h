// What a file cannot say of its architecture. All else (sizes, biases, which norms there are, a tied head, fused
// projections, experts) is read from the file.
#pragma once

#include <span>
#include <string_view>

#include "backend/backend.h"
#include "metallic/result.h"
#include "metallic/tensor.h"

namespace metallic {

struct Config;

struct ArchSpec {
  std::string_view name;  // general.architecture
  NormKind norm = NormKind::kRms;
  // Which norms every block must have; others may be there all the same.
  bool norms_before = true;     // before attention and feed-forward (with a parallel residual one may serve both)
  bool norms_after = false;     // of what they add
  bool norms_residual = false;  // of the residual after each
  bool head_norms = false;      // of the rows of Q and K
  bool rope = true;             // false: positions are learned (position_embd.weight), or there is ALiBi
  RopeStyle rope_style = RopeStyle::kHalves;
  float alibi = 0;  // the largest linear bias of attention (ALiBi) if the file names none; 0: there is none
  Activation activation = Activation::kSilu;
  bool gated = true;                 // the feed-forward part has a gate (else only where the file has one)
  float gate_clamp = 0;              // the clamped gate of gpt-oss
  bool scale_embedding = false;      // the embedding is multiplied by sqrt(embedding length)
  bool parallel_residual = false;    // attention and feed-forward read the same residual (a key may say otherwise)
  bool logit_scale_divides = false;  // logit_scale is a divisor
  // With a sliding window in the file, layer i looks at all positions if (i + 1) % global_every == 0 (with
  // first_global: if i % global_every == 0), else at the window only. 0: every layer has the window.
  int global_every = 0;
  bool first_global = false;
  float local_rope_base = 0;  // rope base of layers with a window if the file names none; 0: that of the others
  int no_rope_every = 0;      // layer i has no rope if (i + 1) % no_rope_every == 0; 0: all have
  std::string_view ffn_norm = "ffn_norm";    // the name of the norm before the feed-forward part
  RouterKind router = RouterKind::kSoftmax;  // unless expert_gating_func says otherwise
  bool normalise_experts =
      true;              // the weights of the chosen experts sum to 1, unless expert_weights_norm says otherwise
  bool encoder = false;  // every position sees all (unless attention.causal says otherwise), and the output is the last
                         // hidden state
  // Sets what follows from other values by a rule of this architecture (after the file has been read). May be null.
  void (*adjust)(Config& config) = nullptr;
};

// The architectures that are known (arch/registry.cc), and one of them by name (kUnsupported lists them).
std::span<const ArchSpec* const> all_arch_specs();
Result<const ArchSpec*> find_arch_spec(std::string_view name);

}  // namespace metallic
