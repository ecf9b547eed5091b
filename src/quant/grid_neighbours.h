// For the formats whose codes are rows of a codebook: the rows near any point, found once and kept.
#pragma once

#include <cstdint>
#include <vector>

namespace metallic::quant {

// A point is kSize levels, one for each weight of a row; its number is sum of level[i] * levels^i.
struct GridNeighbours {
  static constexpr int kCount = 16;

  int size = 0;                   // weights in a row: 4 or 8
  int levels = 0;                 // different values of a weight: 3 or 8
  std::vector<float> values;      // (rows, size)
  std::vector<uint16_t> nearest;  // (points, kCount): rows by distance from the point, the nearest first
  const float* row(int index) const { return values.data() + index * size; }
};

enum class Grid { kIQ2_XXS, kIQ2_XS, kIQ2_S, kIQ3_XXS, kIQ3_S, kIQ1 };

// Made at the first call, which takes up to 100 ms; safe from any thread.
const GridNeighbours& grid_neighbours(Grid grid);

// The value that level `level` stands for, in units of the format's codes (IQ1: -1, 0, 1).
float grid_value(Grid grid, int level);

}  // namespace metallic::quant
