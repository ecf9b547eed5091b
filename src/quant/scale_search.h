// The search behind every encoder whose weights are scale * code, without an offset: per group the scale that leaves
// the smallest weighted error, then one scale for the block, stored as half, and a small integer step for each group.
//
// A Coder says what a format can express. Here x are the weights of a block divided by their largest magnitude
// (`unit`), w how much the square of each error counts, v the codes as floats:
//   kGroup, kGroups              weights in a group (a multiple of 16), groups in a block
//   kStepMin, kStepMax           the integers s that a group stores; its scale is (block scale) * factor(s), where
//   kFactor, kShift              factor(s) = kFactor * (s + kShift)
//   kSignedScale                 a scale may be negative: its codes are not symmetric
//   kDivisors                    scales to begin with: (the extreme weight, or its magnitude) / divisor
//   nearest(x, w, scale, v)      the codes of a group that minimise the sum of w (x - scale v)^2, or nearly so
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quant/block.h"

namespace metallic::quant::inline METALLIC_ISA {

// A block as the searches want it.
template <int kSize>
struct SearchInput {
  float x[kSize];  // weights / unit, so that no square over- or underflows
  float w[kSize];  // > 0, about 1 on average
  float unit;      // the largest magnitude; 0: the block is zero and x, w are not set
};

// Sums are kept in 16 lanes and added up as a tree: fast, and the same on every instruction set.
inline constexpr int kLanes = 16;
inline float sum_lanes(float* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

// Rounds to the nearest integer, ties to even, for |value| < 2^22; unlike std::round it vectorises everywhere.
inline float round_to_integer(float value) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: above it floats are integers
  return (value + kMagic) - kMagic;
}

// The float that a decoder will read when `value * unit` is stored as half, divided by unit again.
inline float as_stored(float value, float unit) {
  constexpr float kLargestHalf = 65504;
  const float clamped = std::clamp(value * unit, -kLargestHalf, kLargestHalf);
  return half_to_float(float_to_half(clamped)) / unit;
}

template <size_t kCount>
constexpr std::array<float, kCount> spaced(float first, float last) {
  std::array<float, kCount> values{};
  for (size_t i = 0; i < kCount; ++i) values[i] = first + (last - first) * float(i) / float(kCount - 1);
  return values;
}

template <size_t kCountA, size_t kCountB>
constexpr std::array<float, kCountA + kCountB> joined(std::array<float, kCountA> a, std::array<float, kCountB> b) {
  std::array<float, kCountA + kCountB> values{};
  for (size_t i = 0; i < kCountA; ++i) values[i] = a[i];
  for (size_t i = 0; i < kCountB; ++i) values[kCountA + i] = b[i];
  return values;
}

// Of the codes v of one group: sums of w x v and w v v. The error at a scale is (sum of w x x) - saved(scale).
struct ScaleSums {
  float xv = 0, vv = 0;
  float saved(float scale) const { return scale * (2 * xv - scale * vv); }
  float best_scale() const { return vv > 0 ? xv / vv : 0; }
};

template <class Coder>
ScaleSums sums_at(const float* x, const float* w, float scale) {
  float v[Coder::kGroup];
  Coder::nearest(x, w, scale, v);
  float xv[kLanes] = {}, vv[kLanes] = {};
  for (int i = 0; i < Coder::kGroup; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float weighted = w[i + lane] * v[i + lane];
      xv[lane] += weighted * x[i + lane];
      vv[lane] += weighted * v[i + lane];
    }
  return {sum_lanes(xv), sum_lanes(vv)};
}

// The scale of one group that leaves the least error, were it stored exactly.
template <class Coder>
float fit_scale(const float* x, const float* w) {
  float extreme = 0;
  for (int i = 0; i < Coder::kGroup; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (!Coder::kSignedScale) extreme = std::fabs(extreme);
  float best = 0, best_saved = 0;
  const auto attempt = [&](float scale) {
    const ScaleSums sums = sums_at<Coder>(x, w, scale);
    const float refined = sums.best_scale(), saved = sums.saved(refined);
    if (!(saved > best_saved)) return false;
    best = refined;
    best_saved = saved;
    return true;
  };
  for (const float divisor : Coder::kDivisors) attempt(extreme / divisor);
  for (int i = 0; i < 4 && attempt(best); ++i) {
  }
  return best;
}

// What a block stores of its scales.
template <class Coder>
struct Scales {
  float scale = 0;  // of the block, over unit
  int steps[Coder::kGroups] = {};

  static float factor(int step) { return Coder::kFactor * (float(step) + Coder::kShift); }
  float of(int group) const { return scale * factor(steps[group]); }
};

// The best steps for a given block scale, among those next to what each group wants. Returns what they save, and the
// sums from which the best block scale for the same codes follows.
template <class Coder>
float choose_steps(const float* x, const float* w, const float* wanted, Scales<Coder>& scales, ScaleSums& total) {
  float saved = 0;
  total = {};
  for (int group = 0; group < Coder::kGroups; ++group) {
    const float* const group_x = x + group * Coder::kGroup;
    const float* const group_w = w + group * Coder::kGroup;
    const float ideal = wanted[group] / scales.scale / Coder::kFactor - Coder::kShift;
    const int centre = int(std::lround(std::clamp(ideal, float(Coder::kStepMin), float(Coder::kStepMax))));
    float best_saved = -std::numeric_limits<float>::infinity(), best_factor = 0;
    ScaleSums best;
    for (int step = std::max(Coder::kStepMin, centre - 1); step <= std::min(Coder::kStepMax, centre + 1); ++step) {
      const float factor = Scales<Coder>::factor(step);
      const ScaleSums sums = sums_at<Coder>(group_x, group_w, scales.scale * factor);
      const float group_saved = sums.saved(scales.scale * factor);
      if (!(group_saved > best_saved)) continue;
      best_saved = group_saved;
      best_factor = factor;
      best = sums;
      scales.steps[group] = step;
    }
    saved += best_saved;
    total.xv += best_factor * best.xv;
    total.vv += best_factor * best_factor * best.vv;
  }
  return saved;
}

template <class Coder>
Scales<Coder> search_scales(const float* x, const float* w, float unit) {
  float wanted[Coder::kGroups];
  float extreme = 0;
  for (int group = 0; group < Coder::kGroups; ++group) {
    wanted[group] = fit_scale<Coder>(x + group * Coder::kGroup, w + group * Coder::kGroup);
    if (std::fabs(wanted[group]) > std::fabs(extreme)) extreme = wanted[group];
  }
  Scales<Coder> best;
  float best_saved = 0;
  constexpr float kLimits[] = {Coder::kFactor * (float(Coder::kStepMin) + Coder::kShift),
                               Coder::kFactor * (float(Coder::kStepMax) + Coder::kShift)};
  for (int limit = Coder::kStepMin < 0 ? 0 : 1; limit < 2; ++limit) {
    Scales<Coder> scales;
    scales.scale = as_stored(extreme / kLimits[limit], unit);
    for (int pass = 0; pass < 3 && scales.scale != 0; ++pass) {
      ScaleSums total;
      const float saved = choose_steps(x, w, wanted, scales, total);
      if (saved > best_saved) {
        best = scales;
        best_saved = saved;
      }
      const float refined = as_stored(total.best_scale(), unit);
      if (refined == scales.scale) break;
      scales.scale = refined;
    }
  }
  return best;
}

// Codes that are all integers of a range.
template <int kSize, int kCount, int kLow, int kHigh>
struct IntegerCodes {
  static constexpr int kGroup = kSize, kGroups = kCount;
  static constexpr bool kSignedScale = true;

  static void nearest(const float* x, const float*, float scale, float* v) {
    const float inverse = scale == 0 ? 0 : 1 / scale;
    for (int i = 0; i < kGroup; ++i)
      v[i] = round_to_integer(std::min(std::max(x[i] * inverse, float(kLow)), float(kHigh)));
  }
};

// One group whose scale is the half-precision number of the block.
struct OneScale {
  static constexpr int kStepMin = 0, kStepMax = 0;
  static constexpr float kFactor = 1, kShift = 1;
};

}  // namespace metallic::quant::inline METALLIC_ISA
