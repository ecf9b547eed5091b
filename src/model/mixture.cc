// The feed-forward part: plain, gated, or a mixture of experts (arXiv:1701.06538).
#include "model/forward.h"

namespace metallic {

// out = W_down (activation(W_gate x) * (W_up x)), or W_down activation(W_up x) without a gate.
void Decoder::feed_forward(const FeedForward& ffn, int64_t inner, int rows, float* out, bool accumulate) {
  Activations& a = activations_;
  const TensorView gate = row_view(a.gate, rows, inner);
  const TensorView up = row_view(a.up, rows, inner);
  const LinearTarget projections[] = {
      {&ffn.up.weight, ffn.up.bias.data(), up, false},
      {&ffn.gate.weight, ffn.gate.bias.data(), gate, false},
  };
  const bool gated = bool(ffn.gate);
  backend_.linear({row_view(a.ffn_input, rows, config_.width), std::span(projections).first(gated ? 2 : 1)});
  backend_.activate(activation(gate, up, gated));
  const LinearTarget down{&ffn.down.weight, ffn.down.bias.data(), row_view(out, rows, config_.width), accumulate};
  backend_.linear({gate, {&down, 1}});
}

// gate = activation(gate) * up, or activation(up) without a gate.
ActivateOp Decoder::activation(const TensorView& gate, const TensorView& up, bool gated) const {
  return gated ? ActivateOp{config_.spec->activation, gate, up, gate, config_.spec->gate_clamp}
               : ActivateOp{config_.spec->activation, up, {}, gate};
}

// out = sum over the chosen experts of weight * expert(x), and the shared expert.
void Decoder::mixture(const Experts& experts, int rows, float* out) {
  Activations& a = activations_;
  const ExpertConfig& sizes = config_.experts;
  const TensorView x = row_view(a.ffn_input, rows, config_.width);
  const TensorView added = row_view(out, rows, config_.width);

  // The shared expert first, since it needs the same memory.
  if (experts.shared.up) {
    feed_forward(experts.shared, experts.shared.up.weight.rows(), rows, out);
    if (experts.shared_gate.rows() > 0) {
      const TensorView gate = row_view(a.router, rows, 1);
      linear(x, experts.shared_gate, nullptr, gate);
      backend_.activate({Activation::kSigmoid, gate, {}, gate});
      TensorView stretched = gate;
      stretched.shape = added.shape;
      stretched.stride[1] = 0;
      backend_.binary({BinaryKind::kMultiply, added, stretched, added});
    }
  } else {
    backend_.scale(added, 0.0f, 0.0f);
  }
  if (const float* bias = experts.output_bias.data()) {
    TensorView all = row_view(const_cast<float*>(bias), 1, config_.width);
    all.shape = added.shape;
    all.stride[0] = 0;
    backend_.binary({BinaryKind::kAdd, added, all, added});
  }

  const TensorView logits = row_view(a.router, rows, sizes.count);
  linear(x, experts.router.weight, experts.router.bias.data(), logits);
  constexpr int kGroupTop = 2;  // DeepSeek-V3 with a selection bias; V2 takes the best one
  backend_.route({logits, experts.selection_bias.data(), sizes.router, sizes.used, sizes.groups, sizes.groups_used,
                  experts.selection_bias.data() ? kGroupTop : 1, sizes.normalise, sizes.scale, a.expert_ids,
                  a.expert_weights});

  const int64_t pairs = int64_t(rows) * sizes.used;
  const TensorView gate = row_view(a.gate, pairs, sizes.width);
  const TensorView up = row_view(a.up, pairs, sizes.width);
  const TensorView down = row_view(a.expert_output, pairs, config_.width);
  const bool gated = !experts.gate.empty();
  backend_.expert_network({{x, experts.gate, experts.gate_bias.data(), a.expert_ids, rows, sizes.used, gate},
                           {x, experts.up, experts.up_bias.data(), a.expert_ids, rows, sizes.used, up},
                           activation(gate, up, gated),
                           {gate, experts.down, experts.down_bias.data(), a.expert_ids, rows, sizes.used, down}});
  backend_.combine({down, a.expert_weights, sizes.used, added});
}

}  // namespace metallic
