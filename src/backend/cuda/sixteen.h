// Activations in 16 bits, as the tensor cores take them.
#pragma once

#include <cstdint>

namespace metallic::cuda {

// Activations of 16 bits: dense rows, for a library; or fragments, for tile_product: 8 x 8 matrices of 128 bytes, a row
// for each token, by (chunk of 128 columns, tile of 8 tokens, matrix of the 16). Number 2 p + e of a row of matrix m is
// column 32 p + 2 m + e of the chunk: two matrices are the 16 columns that an instruction takes, four of each group of
// 32. Columns are padded to 128 with zeros, tokens to `token_tiles` tiles with anything.
struct Sixteen {
  void* data;
  int32_t token_tiles;  // 0: dense rows
  int32_t half;         // half precision (what does not fit becomes the largest); or bfloat16
};
constexpr int kChunk = 128;  // columns
constexpr int kMatrices = kChunk / 8;
inline int chunks_of(int columns) { return (columns + kChunk - 1) / kChunk; }

}  // namespace metallic::cuda
