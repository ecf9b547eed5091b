// The activation functions, by their definitions. Host and device share them.
#pragma once

#include <cmath>

#include "base/half.h"
#include "metallic/tensor.h"

namespace metallic {

METALLIC_HOST_DEVICE inline float activation_value(Activation activation, float x) {
  switch (activation) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return x > 0.0f ? x : 0.0f;
    case Activation::kSilu:
      return x / (1.0f + std::exp(-x));
    case Activation::kGelu:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752f));
    // arXiv:1606.08415: 0.79788... = sqrt(2 / pi)
    case Activation::kGeluTanh:
      return 0.5f * x * (1.0f + std::tanh(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case Activation::kGeluQuick:
      return x / (1.0f + std::exp(-1.702f * x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return 1.0f / (1.0f + std::exp(-x));
  }
  return x;
}

// The gated form: activation(gate) * factor. With a clamp (gpt-oss) the gate is at most that, the factor within +-
// that, and one is added to it.
METALLIC_HOST_DEVICE inline float gated_value(Activation activation, float gate, float factor, float clamp) {
  if (clamp <= 0) return activation_value(activation, gate) * factor;
  const float x = gate < clamp ? gate : clamp;
  const float y = factor < -clamp ? -clamp : factor > clamp ? clamp : factor;
  return activation_value(activation, x) * (y + 1.0f);
}

}  // namespace metallic
