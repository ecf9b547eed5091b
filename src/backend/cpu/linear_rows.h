// Rows of the targets of a linear operation, as blocks that one thread takes at a time.
#pragma once

#include <algorithm>
#include <span>

#include "backend/cpu/cpu.h"
#include "backend/strided.h"
#include "base/check.h"

namespace metallic::cpu {

inline constexpr int64_t kFewTokens = 16;  // below: limited by memory, so blocks of rows that fit the first cache
inline constexpr int64_t kManyRows = 64;   // of a block, at most

struct Rows {
  const LinearTarget* target;
  int64_t first, count;  // at most kManyRows
};

inline const uint8_t* row_of(const Weight& weight, int64_t row) {
  return static_cast<const uint8_t*>(weight.view.data) + row * weight.view.stride[0];
}

// Rows of a block for many tokens: each thread has several blocks to take, and tokens are read once for many rows.
inline int64_t rows_of_block(std::span<const LinearTarget> targets, int64_t threads) {
  int64_t rows = 0;
  for (const LinearTarget& target : targets) rows += target.weight->rows();
  return std::clamp(rows / (8 * threads) / kTileRows * kTileRows, 2 * int64_t(kTileRows), kManyRows);
}

inline int64_t count_blocks(std::span<const LinearTarget> targets, int64_t block_rows) {
  int64_t blocks = 0;
  for (const LinearTarget& target : targets) blocks += tile_count(target.weight->rows(), block_rows);
  return blocks;
}

// Block number `block` of all targets' rows.
inline Rows find_block(std::span<const LinearTarget> targets, int64_t block_rows, int64_t block) {
  for (const LinearTarget& target : targets) {
    const int64_t rows = target.weight->rows(), blocks = tile_count(rows, block_rows);
    if (block < blocks) return {&target, block * block_rows, std::min(block_rows, rows - block * block_rows)};
    block -= blocks;
  }
  METALLIC_CHECK(false && "no such block");
  return {};
}

// Writes what the rows give for `tokens` tokens: the sum of `levels` neighbours among sums (tokens * levels,
// kManyRows).
inline void store_sums(const Rows& rows, int64_t tokens, int64_t levels, const float* sums) {
  const LinearTarget& target = *rows.target;
  const float* bias = target.bias != nullptr ? target.bias + rows.first : nullptr;
  for (int64_t t = 0; t < tokens; ++t) {
    const float *sum = sums + t * levels * kManyRows, *rest = sum + (levels - 1) * kManyRows;
    float* out = float_at(target.out, t) + rows.first;
    for (int64_t r = 0; r < rows.count; ++r) {
      const float product = levels == 2 ? sum[r] + rest[r] : sum[r];
      const float value = bias != nullptr ? product + bias[r] : product;
      out[r] = target.accumulate ? out[r] + value : value;
    }
  }
}

}  // namespace metallic::cpu
