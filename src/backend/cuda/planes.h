// The tuned layout of quantised weights: what a block of the file mixes lies in planes of its own, so that a lane reads
// 16 bytes of codes at an address that 16 divides. All have groups of 32 weights (8-bit codes are read as halves of a
// group).
//   codes   4, 5, 6 bits: 16 bytes a group; byte i holds weight i (low) and weight i + 16 (high)
//           8 bits: 32 bytes a group
//   high    5 bits: a word a group, 6 bits: two words; bit (6: two bits) j of byte b belongs to weight 4 j + b
//   scales  by kind, below
//   supers  of blocks of 256, by kind
// Nothing is lost: w = scale * (code - zero) + offset gives the bits of the format, and no byte more than the file has
// except Q4_K, Q5_K (148 for 144) and Q6_K (212 for 210).
#pragma once

#include <cstdint>

#include "backend/cuda/commands.h"

namespace metallic::cuda {

enum class ScaleKind {
  kHalf,      // scales: a half a group
  kHalfPair,  // scales: scale and offset, halves
  kSuper,     // scales: 8-bit factors of scale and minimum; supers: scale and minimum, halves
  kSigned,    // scales: signed 8-bit factors for each 16 weights; supers: a half
};

template <Format kFormatV, int kBitsV, int kZeroV, ScaleKind kScaleV>
struct PlaneFormat {
  static constexpr Format kFormat = kFormatV;
  static constexpr int kBits = kBitsV, kZero = kZeroV;
  static constexpr ScaleKind kScale = kScaleV;
  static constexpr int kCodeBytes = kBits == 8 ? 32 : 16;                     // of a group
  static constexpr int kHighBytes = kBits == 5 ? 4 : kBits == 6 ? 8 : 0;      // of a group
  static constexpr int kScaleBytes = kScale == ScaleKind::kHalfPair ? 4 : 2;  // of a group
  static constexpr int kSuperBytes = kScale == ScaleKind::kSuper ? 4 : kScale == ScaleKind::kSigned ? 2 : 0;  // of 256
  static constexpr int kUnit = kBits == 8 ? 16 : 32;  // weights that a lane takes at once
};

using PlanesQ4_0 = PlaneFormat<Format::kQ4_0, 4, 8, ScaleKind::kHalf>;
using PlanesQ4_1 = PlaneFormat<Format::kQ4_1, 4, 0, ScaleKind::kHalfPair>;
using PlanesQ5_0 = PlaneFormat<Format::kQ5_0, 5, 16, ScaleKind::kHalf>;
using PlanesQ5_1 = PlaneFormat<Format::kQ5_1, 5, 0, ScaleKind::kHalfPair>;
using PlanesQ8_0 = PlaneFormat<Format::kQ8_0, 8, 0, ScaleKind::kHalf>;
using PlanesQ4_K = PlaneFormat<Format::kQ4_K, 4, 0, ScaleKind::kSuper>;
using PlanesQ5_K = PlaneFormat<Format::kQ5_K, 5, 0, ScaleKind::kSuper>;
using PlanesQ6_K = PlaneFormat<Format::kQ6_K, 6, 32, ScaleKind::kSigned>;

// function(P{}) for the planes of a format; false if it has none.
template <class Function>
bool visit_planes(Format format, Function&& function) {
  switch (format) {
    case Format::kQ4_0:
      return function(PlanesQ4_0{}), true;
    case Format::kQ4_1:
      return function(PlanesQ4_1{}), true;
    case Format::kQ5_0:
      return function(PlanesQ5_0{}), true;
    case Format::kQ5_1:
      return function(PlanesQ5_1{}), true;
    case Format::kQ8_0:
      return function(PlanesQ8_0{}), true;
    case Format::kQ4_K:
      return function(PlanesQ4_K{}), true;
    case Format::kQ5_K:
      return function(PlanesQ5_K{}), true;
    case Format::kQ6_K:
      return function(PlanesQ6_K{}), true;
    default:
      return false;
  }
}

// Bytes of each plane of a (rows, columns) weight, the parts rounded up to 256, and where they begin.
struct PlaneSizes {
  uint64_t high = 0, scales = 0, supers = 0, total = 0;  // offsets behind the codes, which begin at 0
};
template <class P>
PlaneSizes plane_sizes(int64_t rows, int64_t columns) {
  const auto padded = [](uint64_t bytes) { return (bytes + 255) / 256 * 256; };
  const uint64_t groups = uint64_t(rows) * uint64_t(columns) / 32;
  PlaneSizes sizes;
  sizes.high = padded(groups * P::kCodeBytes);
  sizes.scales = sizes.high + padded(groups * P::kHighBytes);
  sizes.supers = sizes.scales + padded(groups * P::kScaleBytes);
  sizes.total = sizes.supers + padded(groups / 8 * P::kSuperBytes);
  return sizes;
}

}  // namespace metallic::cuda
