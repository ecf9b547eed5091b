#include "quant/grid_neighbours.h"

#include <algorithm>
#include <array>
#include <span>

#include "quant/codebook.h"

namespace metallic::quant {
namespace {

struct GridShape {
  std::span<const uint16_t> rows;
  int size;
  int levels;
  int bits;  // of a level in a packed row
};

GridShape shape_of(Grid grid) {
  switch (grid) {
    case Grid::kIQ2_XXS:
      return {kGridIQ2_XXS, 8, 3, 2};
    case Grid::kIQ2_XS:
      return {kGridIQ2_XS, 8, 3, 2};
    case Grid::kIQ2_S:
      return {kGridIQ2_S, 8, 3, 2};
    case Grid::kIQ3_XXS:
      return {kGridIQ3_XXS, 4, 8, 3};
    case Grid::kIQ3_S:
      return {kGridIQ3_S, 4, 8, 3};
    case Grid::kIQ1:
      break;
  }
  return {kGridIQ1, 8, 3, 2};
}

GridNeighbours make(Grid grid) {
  const GridShape shape = shape_of(grid);
  GridNeighbours result{shape.size, shape.levels, {}, {}};
  for (const uint16_t row : shape.rows)
    for (int i = 0; i < shape.size; ++i)
      result.values.push_back(grid_value(grid, row >> (shape.bits * i) & ((1 << shape.bits) - 1)));

  int points = 1;
  for (int i = 0; i < shape.size; ++i) points *= shape.levels;
  result.nearest.resize(size_t(points) * GridNeighbours::kCount);
  std::vector<std::pair<float, uint16_t>> distances(shape.rows.size());
  for (int point = 0; point < points; ++point) {
    std::array<float, 8> at{};
    for (int i = 0, rest = point; i < shape.size; ++i, rest /= shape.levels)
      at[size_t(i)] = grid_value(grid, rest % shape.levels);
    for (size_t row = 0; row < distances.size(); ++row) {
      const float* const values = result.row(int(row));
      float distance = 0;
      for (int i = 0; i < shape.size; ++i) distance += (values[i] - at[size_t(i)]) * (values[i] - at[size_t(i)]);
      distances[row] = {distance, uint16_t(row)};
    }
    std::partial_sort(distances.begin(), distances.begin() + GridNeighbours::kCount, distances.end());
    for (size_t i = 0; i < GridNeighbours::kCount; ++i)
      result.nearest[size_t(point) * GridNeighbours::kCount + i] = distances[i].second;
  }
  return result;
}

template <Grid kGrid>
const GridNeighbours& kept() {
  static const GridNeighbours neighbours = make(kGrid);
  return neighbours;
}

}  // namespace

float grid_value(Grid grid, int level) {
  switch (grid) {
    case Grid::kIQ2_XXS:
    case Grid::kIQ2_XS:
    case Grid::kIQ2_S:
      return float(8 + 17 * level + (level >> 1));
    case Grid::kIQ3_XXS:
      return float(4 + 8 * level + (level == 7 ? 2 : 0));
    case Grid::kIQ3_S:
      return float(1 + 2 * level);
    case Grid::kIQ1:
      break;
  }
  return float(level - 1);
}

const GridNeighbours& grid_neighbours(Grid grid) {
  switch (grid) {
    case Grid::kIQ2_XXS:
      return kept<Grid::kIQ2_XXS>();
    case Grid::kIQ2_XS:
      return kept<Grid::kIQ2_XS>();
    case Grid::kIQ2_S:
      return kept<Grid::kIQ2_S>();
    case Grid::kIQ3_XXS:
      return kept<Grid::kIQ3_XXS>();
    case Grid::kIQ3_S:
      return kept<Grid::kIQ3_S>();
    case Grid::kIQ1:
      break;
  }
  return kept<Grid::kIQ1>();
}

}  // namespace metallic::quant
