// Kernels for more rows than matvec.cu takes: what brings activations to 16 bits for the tensor cores, and what
// multiplies them.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/commands.h"
#include "backend/cuda/fast.h"
#include "backend/cuda/sixteen.h"

namespace metallic::cuda {

// x, or its norm, to 16 bits. Columns: a multiple of 8; with a norm, at most kWidestNorm.
struct PrepareArgs {
  Rows x;
  int32_t rows, columns;
  int32_t has_norm;   // x is the input of `norm`
  int32_t write_out;  // norm.out gets the floats
  NormArgs norm;
  Sixteen to;
  int32_t aligned;  // rows of x and out begin at multiples of 16 bytes
  int32_t dependent;
};
constexpr int kWidestNorm = 16384;
void launch(const PrepareArgs& args, cudaStream_t stream);

// Products of weights in planes with fragments.
struct TileProductArgs {
  struct Target {
    WeightRef weight;
    const float* bias;
    Rows out;  // data may be null
    float* residual;
    int64_t residual_stride;
    int32_t accumulate;
    int32_t first_tile;  // of rows
  };
  const void* x;
  int32_t token_tiles, tokens, columns;
  int32_t count, tiles;
  int32_t gated;  // target 0: activation(its product) times the product of target 1
  Activation activation;
  float clamp;
  Sixteen to;        // gated: fragments of the result; data may be null
  float* partial;    // tile_partials() floats
  int32_t* arrived;  // tile_counters(), zero
  int32_t dependent;
  int32_t warpgroups;  // warpgroup_product.cu multiplies
  Target targets[LinearArgs::kTargets];
};
constexpr int kTileRows = 128;       // of the weights, for a block
constexpr int kMostTileTokens = 64;  // for a block
constexpr int kMostWarpgroupTokens = 128;
constexpr int kMostTileBlocks = 1024;  // in a launch
// Whether the current device has warpgroups, and the code for them was compiled.
bool has_warpgroups();
// Above, decoding the weights once for a product by the library is faster than reading them as they are.
inline int most_tiled_rows(bool warpgroups) { return warpgroups ? 384 : 64; }
// Tokens are padded to so many tiles of 8.
int token_tiles(int tokens, bool warpgroups);
int64_t tile_partials(const TileProductArgs& args);
int64_t tile_counters(const TileProductArgs& args);
// All targets have planes of one format.
void launch(const TileProductArgs& args, cudaStream_t stream);

// Queries, keys and values from `from` (with a bias) to `out`, rope, and to the KV pages.
struct SpreadArgs {
  struct Part {
    Rows from, out;     // out.data may be null
    const float* bias;  // or null
    int32_t width, head_width;
    int32_t pairs, interleaved;  // 0: not rotated
    const float* frequencies;
    float magnitude;
    int32_t padding;
  };
  Part parts[3];
  const int32_t* positions;  // for rope
  Pages keys, values;
  const RowPlace* places;  // of each row
  int32_t rows;
  int32_t dependent;
};
void launch(const SpreadArgs& args, cudaStream_t stream);

// activation(gate) * up from a product (rows, 2 * width): up, then gate.
struct GateArgs {
  const void* product;  // bfloat16, or floats
  int64_t stride;
  int32_t in_floats;
  int32_t rows, width;  // width: a multiple of 8
  Activation activation;
  float clamp;
  const float *up_bias, *gate_bias;
  Rows up, out;  // data may be null
  Sixteen to;    // dense; data may be null
};
void launch(const GateArgs& args, cudaStream_t stream);

// Attention of many rows on the tensor cores.
struct FlashArgs {
  AttentionArgs attention;  // out.data may be null
  Sixteen to;               // the outputs (rows, heads * dv); data may be null
};
bool can_flash(const AttentionArgs& args);
void launch(const FlashArgs& args, cudaStream_t stream);
// The same where has_warpgroups(); false, and nothing is launched, where the driver does not know pages of that form.
bool can_flash_by_warpgroups(const AttentionArgs& args);
bool launch_by_warpgroups(const FlashArgs& args, cudaStream_t stream);

}  // namespace metallic::cuda
