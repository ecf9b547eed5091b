// The primitives of the cpu backend for one instruction set, as a table of functions. Each folder beside this file
// (scalar, avx2, avx512, avx512bf16, neon) is compiled for its instruction set and fills one table; the operations
// (linear.cc, attention.cc, ...) are written once over them. Which table is used is decided at run time.
//
// Every function has one fixed order of operations for each element of its result, whatever else it computes in the
// same call: results never depend on the number of threads or on what shares a batch.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "backend/random.h"
#include "metallic/tensor.h"
#include "quant/dequantize.h"

namespace metallic::cpu {

inline constexpr int kTileRows = 4;      // rows of a dot tile
inline constexpr int kMaxDotTokens = 6;  // tokens of a dot tile, at most
inline constexpr int kOuterRows = 6;     // rows of an outer tile, at most
inline constexpr int kMaxOuterVectors = 4;

// sums[t * sum_stride + r] += the product of row r (0 to 3) with token t over steps * width floats. Rows lie row_stride
// floats apart; tokens are interleaved: (steps, tokens, width).
using DotTile = void (*)(const float* rows, int64_t row_stride, const float* tokens, int64_t steps, float* sums,
                         int64_t sum_stride);

// A product of `columns` columns is summed in chunks of so many, each as one dot tile does, added up in their order. A
// multiple of every format's block.
inline constexpr int64_t kSumChunk = 1024;

// sums[t * sum_stride + r] += the product of row r (0 to 3) of unquantised weights, as the file has them, row_stride
// bytes apart, with token t over a chunk of columns. What a tile of tokens is, and which numbers of columns
// are allowed, its table says.
using DirectTile = void (*)(const uint8_t* rows, int64_t row_stride, const void* tokens, int64_t columns, float* sums,
                            int64_t sum_stride);
struct DirectTiles {
  DirectTile tile[kMaxDotTokens + 1];  // by the number of tokens, from 1
};

// One block of an outer product sum: out[r * out_stride + i] += sum over k of a[r * a_row + k * a_step] * b[k *
// b_stride + i], in the order of k.
struct OuterArguments {
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_stride;
  int64_t count;  // of k
  float* out;
  int64_t out_stride;
};
using OuterTile = void (*)(const OuterArguments& arguments);

// Like OuterArguments with neighbouring k in pairs of bfloat16, a word each: out[r * out_stride + i] += sum over k of
// a[r * a_row + k] * b[k * b_stride + i], both products of the pairs.
struct PairArguments {
  const void* a;
  int64_t a_row;  // words
  const void* b;
  int64_t b_stride;  // words
  int64_t pairs;
  float* out;
  int64_t out_stride;
};
using PairTile = void (*)(const PairArguments& arguments);

// For instructions that multiply pairs of bfloat16 (AVX-512 BF16).
struct BfloatKernels {
  int step;    // columns of a vector; a tile of tokens is (steps, tokens, step), zeros after the last column
  int tokens;  // best number of tokens of a tile
  int chunk;   // columns that are summed at a time
  // For BF16 weights with tokens of one or two bfloat16: what rounding left of the first is the second. Any number of
  // columns.
  DirectTiles tiles;
  // A row of floats as number `token` of a tile of `tokens`; `rest` may be null.
  void (*split)(const float* x, int64_t columns, int token, int tokens, uint16_t* first, uint16_t* rest);

  PairTile pair[kOuterRows + 1][kMaxOuterVectors + 1];  // by rows and vectors, from 1
  // Neighbouring columns of a row as words, zeros after the last up to a multiple of `step` columns. Out may be x.
  void (*pair_columns)(const float* x, int64_t columns, void* out);
  // Neighbouring rows (2 * pairs, columns), with a multiple of Kernels::width columns, as words (pairs, columns).
  void (*pair_rows)(const float* rows, int64_t columns, int64_t pairs, void* out);
};

struct NormArguments {
  const float* weight;  // or null
  const float* bias;    // or null
  float epsilon;
  int64_t width;
};

struct Kernels {
  const char* name;
  int width;          // floats of a vector
  int dot_tokens;     // most tokens of a dot tile
  int outer_vectors;  // most vectors of an outer tile

  DotTile dot[kMaxDotTokens + 1];                         // by the number of tokens, from 1; 4 rows
  OuterTile outer[kOuterRows + 1][kMaxOuterVectors + 1];  // by rows and vectors, from 1
  // The same bits as dequantised rows through `dot`. Tokens as there; columns: a multiple of `width`.
  DirectTiles direct_f32, direct_f16, direct_bf16;
  const BfloatKernels* bfloat;  // or null
  // out[c * out_stride + r] = rows[r * row_stride + c], for `width` rows and `columns` columns, a multiple of it.
  void (*transpose)(const float* rows, int64_t row_stride, int64_t columns, float* out, int64_t out_stride);
  void (*float_to_half)(const float* x, int64_t count, uint16_t* out);

  void (*rms_norm)(const float* x, const NormArguments& arguments, float* out);
  void (*layer_norm)(const float* x, const NormArguments& arguments, float* out);
  float (*maximum)(const float* x, int64_t count);  // -infinity for none
  // out[i] = exp(x[i] - highest), or 0 where that is less than e^-64; returns their sum. Out may be x.
  float (*exp_sum)(const float* x, int64_t count, float highest, float* out);
  void (*scale)(const float* x, int64_t count, float factor, float* out);
  // out = out * a + x * b
  void (*blend)(float* out, float a, const float* x, float b, int64_t count);
  void (*add)(const float* a, const float* b, int64_t count, float* out);
  void (*multiply)(const float* a, const float* b, int64_t count, float* out);
  void (*add_one)(const float* a, float b, int64_t count, float* out);  // the same b for all
  // `factor` may be null
  void (*activate)(Activation activation, const float* x, const float* factor, int64_t count, float* out);
  // Rotates pair i of x: (2i, 2i + 1), or (i, i + pairs).
  void (*rope)(RopeStyle style, const float* cosines, const float* sines, int64_t pairs, float* x);
  // Elements low, low + 1, ... of a block of random_uniform.
  void (*random)(RandomKeys keys, uint32_t low, int64_t count, float lo, float range, float below_hi, float* out);
};

// The tables that this processor can run, best first; the last is scalar.
std::span<const Kernels* const> available_kernels();

// The best of them, or the one called `isa` (scalar, avx2, avx512, avx512bf16, neon) if that is not empty, or the one
// that goes with the table called so of panels.h; an error lists those that can run here.
Result<const Kernels*> find_kernels(std::string_view isa);

// Fills of the tables, where the target processor family has them.
const Kernels& scalar_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_bfloat_kernels();  // with `bfloat`
const Kernels& neon_kernels();
const BfloatKernels& avx512bf16_kernels();

}  // namespace metallic::cpu
