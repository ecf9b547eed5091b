#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace metallic {
namespace {

// The pair of dimensions that makes `rotations` turns over the original context.
double dimension_of(double rotations, const RopeConfig& rope) {
  const double turns = double(rope.original_context) / (rotations * 2 * std::numbers::pi);
  return double(rope.dims) * std::log(turns) / (2 * std::log(double(rope.base)));
}

// YaRN (arXiv:2309.00071): fast pairs keep their frequency, slow ones are stretched by the factor, those between go
// over linearly.
void apply_yarn(const RopeConfig& rope, std::vector<double>& frequencies) {
  double low = dimension_of(double(rope.beta_fast), rope);
  double high = dimension_of(double(rope.beta_slow), rope);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(rope.dims - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double stretched = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    const double kept = (1 - stretched) * double(rope.extrapolation);
    frequencies[i] *= kept + (1 - kept) / double(rope.factor);
  }
}

// "Dynamic NTK": the base that lets the slowest pair turn as far over `context` as it did over the original context.
double dynamic_base(const RopeConfig& rope, int context) {
  const double base = double(rope.base), factor = double(rope.dynamic_factor);
  if (factor <= 1 || context <= rope.original_context || rope.dims <= 2) return base;
  const double longer = factor * context / rope.original_context - (factor - 1);
  return base * std::pow(longer, double(rope.dims) / (rope.dims - 2));
}

}  // namespace

RopeAngles rope_angles(const RopeConfig& rope, const std::vector<float>& factors, bool local, int context) {
  const double base = local && rope.local_is_plain ? double(rope.local_base) : dynamic_base(rope, context);
  std::vector<double> frequencies(size_t(rope.dims / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = std::pow(base, -2.0 * double(i) / rope.dims);
  RopeAngles angles;
  if (!local || !rope.local_is_plain) {
    if (rope.scaling == RopeScaling::kLinear)
      for (double& frequency : frequencies) frequency /= double(rope.factor);
    if (rope.scaling == RopeScaling::kYarn) apply_yarn(rope, frequencies);
    angles.magnitude = rope.magnitude;
    for (size_t i = 0; i < factors.size(); ++i) frequencies[i] /= double(factors[i]);
  }
  angles.frequencies.assign(frequencies.begin(), frequencies.end());
  return angles;
}

}  // namespace metallic
