// The search behind every encoder whose weights are scale * code - minimum: scale and minimum of each group by least
// squares, then both stored as a small integer times a half-precision number of the block.
//
// A Coder says what a format can express (x, w and unit as in scale_search.h):
//   kGroup, kGroups      weights in a group (a multiple of 16), groups in a block
//   kCodeMax             codes are 0 to kCodeMax
//   kStepMax             a group stores s and m of 0 to kStepMax: its scale is (block scale) * s, its minimum
//                        (block minimum) * m. 0: one group, whose scale and minimum are the block's; the minimum may
//                        then have any sign, else it is >= 0
//   kReach               how far from the nearest step the joint search looks
#pragma once

#include "quant/scale_search.h"

namespace metallic::quant::inline METALLIC_ISA {

// Sums over one group with codes v, all weighted with w.
struct OffsetSums {
  float v = 0, vv = 0, xv = 0;
};

// Codes of x under a scale and minimum, as floats.
template <class Coder>
void nearest_codes(const float* x, float scale, float minimum, float* v) {
  const float inverse = scale == 0 ? 0 : 1 / scale;
  for (int i = 0; i < Coder::kGroup; ++i)
    v[i] = round_to_integer(std::min(std::max((x[i] + minimum) * inverse, 0.0f), float(Coder::kCodeMax)));
}

template <class Coder>
OffsetSums offset_sums_at(const float* x, const float* w, float scale, float minimum) {
  float codes[Coder::kGroup];
  nearest_codes<Coder>(x, scale, minimum, codes);
  float v[kLanes] = {}, vv[kLanes] = {}, xv[kLanes] = {};
  for (int i = 0; i < Coder::kGroup; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float weighted = w[i + lane] * codes[i + lane];
      v[lane] += weighted;
      vv[lane] += weighted * codes[i + lane];
      xv[lane] += weighted * x[i + lane];
    }
  return {sum_lanes(v), sum_lanes(vv), sum_lanes(xv)};
}

// What does not change while codes are searched: sums of w and of w x.
struct GroupSums {
  float w = 0, x = 0;

  template <class Coder>
  static GroupSums of(const float* x, const float* w) {
    float sum_w[kLanes] = {}, sum_x[kLanes] = {};
    for (int i = 0; i < Coder::kGroup; i += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) {
        sum_w[lane] += w[i + lane];
        sum_x[lane] += w[i + lane] * x[i + lane];
      }
    return {sum_lanes(sum_w), sum_lanes(sum_x)};
  }

  // (sum of w x x) minus the error of x = scale * v - minimum.
  float saved(const OffsetSums& sums, float scale, float minimum) const {
    return scale * (2 * sums.xv - scale * sums.vv) - minimum * (2 * x + minimum * w - 2 * scale * sums.v);
  }
};

struct ScaleAndMinimum {
  float scale = 0, minimum = 0;
};

// The pair with the least error for given codes.
template <class Coder>
ScaleAndMinimum solve(const GroupSums& group, const OffsetSums& sums) {
  const float determinant = group.w * sums.vv - sums.v * sums.v;
  if (determinant > 1e-6f * group.w * sums.vv) {
    const float scale = (group.w * sums.xv - group.x * sums.v) / determinant;
    const float minimum = (sums.v * sums.xv - sums.vv * group.x) / determinant;
    if (minimum >= 0 || Coder::kStepMax == 0) return {scale, minimum};
  }
  return {sums.vv > 0 ? sums.xv / sums.vv : 0, 0};  // codes all alike, or a minimum that cannot be stored
}

template <class Coder>
ScaleAndMinimum fit_scale_and_minimum(const float* x, const float* w) {
  float low = Coder::kStepMax == 0 ? x[0] : 0, high = x[0];
  for (int i = 0; i < Coder::kGroup; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  ScaleAndMinimum best = {0, -low};
  if (!(high > low)) return best;
  const GroupSums group = GroupSums::of<Coder>(x, w);
  float best_saved = -std::numeric_limits<float>::infinity();
  const auto attempt = [&](ScaleAndMinimum from) {
    const OffsetSums sums = offset_sums_at<Coder>(x, w, from.scale, from.minimum);
    const ScaleAndMinimum refined = solve<Coder>(group, sums);
    const float saved = group.saved(sums, refined.scale, refined.minimum);
    if (!(saved > best_saved)) return false;
    best = refined;
    best_saved = saved;
    return true;
  };
  constexpr int kAttempts = 24;
  for (int i = 0; i < kAttempts; ++i) {  // a shorter range than the weights span cuts off outliers
    const float levels = float(Coder::kCodeMax) - 0.6f + 0.15f * float(i);
    attempt({(high - low) / levels, -low});
  }
  for (int i = 0; i < 4 && attempt(best); ++i) {
  }
  return best;
}

// What a block stores, scale and minimum over unit.
template <class Coder>
struct OffsetScales {
  float scale = 0, minimum = 0;
  int steps[Coder::kGroups] = {}, minimum_steps[Coder::kGroups] = {};

  float scale_of(int group) const { return Coder::kStepMax == 0 ? scale : scale * float(steps[group]); }
  float minimum_of(int group) const { return Coder::kStepMax == 0 ? minimum : minimum * float(minimum_steps[group]); }
};

// The normal equations of the block's scale and minimum, the steps and codes being given.
struct BlockEquations {
  double ss = 0, sm = 0, mm = 0, xs = 0, xm = 0;

  void add(const GroupSums& group, const OffsetSums& sums, float s, float m) {
    ss += double(s * s * sums.vv);
    sm += double(s * m * sums.v);
    mm += double(m * m * group.w);
    xs += double(s * sums.xv);
    xm += double(m * group.x);
  }
  ScaleAndMinimum solve() const {
    const double determinant = ss * mm - sm * sm;
    if (determinant > 1e-9 * ss * mm)
      return {float((xs * mm - xm * sm) / determinant), float((xs * sm - xm * ss) / determinant)};
    return {ss > 0 ? float(xs / ss) : 0, mm > 0 && ss <= 0 ? float(-xm / mm) : 0};
  }
};

inline int nearest_step(float value, float unit_of_step, int limit) {
  if (unit_of_step == 0) return 0;
  return int(std::lround(std::clamp(value / unit_of_step, 0.0f, float(limit))));
}

// The best steps for a given scale and minimum of the block, and the equations for better ones. Returns what is saved.
template <class Coder>
float choose_offset_steps(const float* x, const float* w, const ScaleAndMinimum* wanted, OffsetScales<Coder>& scales,
                          BlockEquations& equations) {
  float saved = 0;
  for (int group = 0; group < Coder::kGroups; ++group) {
    const float* const group_x = x + group * Coder::kGroup;
    const float* const group_w = w + group * Coder::kGroup;
    const GroupSums group_sums = GroupSums::of<Coder>(group_x, group_w);
    const int centre = nearest_step(wanted[group].scale, scales.scale, Coder::kStepMax);
    const int minimum_centre = nearest_step(wanted[group].minimum, scales.minimum, Coder::kStepMax);
    float best_saved = -std::numeric_limits<float>::infinity();
    OffsetSums best;
    for (int s = std::max(0, centre - Coder::kReach); s <= std::min(Coder::kStepMax, centre + Coder::kReach); ++s)
      for (int m = std::max(0, minimum_centre - Coder::kReach);
           m <= std::min(Coder::kStepMax, minimum_centre + Coder::kReach); ++m) {
        const float scale = scales.scale * float(s), minimum = scales.minimum * float(m);
        const OffsetSums sums = offset_sums_at<Coder>(group_x, group_w, scale, minimum);
        const float group_saved = group_sums.saved(sums, scale, minimum);
        if (!(group_saved > best_saved)) continue;
        best_saved = group_saved;
        best = sums;
        scales.steps[group] = s;
        scales.minimum_steps[group] = m;
      }
    saved += best_saved;
    equations.add(group_sums, best, float(scales.steps[group]), float(scales.minimum_steps[group]));
  }
  return saved;
}

template <class Coder>
OffsetScales<Coder> search_offset_scales(const float* x, const float* w, float unit) {
  ScaleAndMinimum wanted[Coder::kGroups];
  ScaleAndMinimum largest;
  for (int group = 0; group < Coder::kGroups; ++group) {
    wanted[group] = fit_scale_and_minimum<Coder>(x + group * Coder::kGroup, w + group * Coder::kGroup);
    largest.scale = std::max(largest.scale, wanted[group].scale);
    largest.minimum = std::max(largest.minimum, wanted[group].minimum);
  }
  OffsetScales<Coder> scales;
  if constexpr (Coder::kStepMax == 0) {
    scales.scale = as_stored(wanted[0].scale, unit);
    scales.minimum = as_stored(wanted[0].minimum, unit);
    return scales;
  }
  scales.scale = as_stored(largest.scale / float(Coder::kStepMax), unit);
  scales.minimum = as_stored(largest.minimum / float(Coder::kStepMax), unit);
  OffsetScales<Coder> best;
  float best_saved = -std::numeric_limits<float>::infinity();
  for (int pass = 0; pass < 4; ++pass) {
    BlockEquations equations;
    const float saved = choose_offset_steps(x, w, wanted, scales, equations);
    if (!(saved > best_saved)) break;
    best = scales;
    best_saved = saved;
    const ScaleAndMinimum refined = equations.solve();
    scales.scale = as_stored(std::max(refined.scale, 0.0f), unit);
    scales.minimum = as_stored(std::max(refined.minimum, 0.0f), unit);
  }
  return best;
}

}  // namespace metallic::quant::inline METALLIC_ISA
