// The tuned kernels: what the fast launcher puts commands together to.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/commands.h"
#include "backend/cuda/sixteen.h"

namespace metallic::cuda {

// Where the planes of a weight are while they are written.
struct PlanePointers {
  uint8_t* codes;
  uint8_t* high;
  uint8_t* scales;
  uint8_t* supers;
};
// `groups` groups of 32 weights, from number `first` of the weight on, from blocks.
void launch_repack(Format format, const void* blocks, int64_t first, int64_t groups, const PlanePointers& to,
                   cudaStream_t stream);

void launch_planes(const EmbedArgs& args, cudaStream_t stream);

// `rows` rows of a weight, from number `row`, to dense bfloat16.
void launch_to_bf16(const WeightRef& weight, int row, int rows, void* out, cudaStream_t stream);
// out (rows, width) += bias (width).
void launch_add_bias(const Rows& out, int rows, int width, const float* bias, cudaStream_t stream);

// Activations of eight bits: codes (rows, columns), groups (rows, columns / 32).
struct Quantised {
  int8_t* codes;
  void* groups;  // ActivationGroup
};
struct QuantiseArgs {
  Rows x;
  int32_t rows, columns;
  int32_t has_norm;
  int32_t aligned;    // rows of x begin at multiples of 16 bytes
  NormArgs norm;      // has_norm: x is its input, and norm.out gets the floats
  Quantised to;       // null: only the norm
  int32_t dependent;  // launched before the kernel ahead of it has ended
  int32_t padding;
};
void launch(const QuantiseArgs& args, cudaStream_t stream);

// What happens to the outputs of a matrix-vector product.
enum class Epilogue : int32_t { kPlain, kGated, kAttention };

struct MatvecArgs {
  struct Target {
    WeightRef weight;
    const float* bias;
    Rows out;
    float* residual;  // (tokens, rows) by residual_stride: gets the output added; or null
    int64_t residual_stride;
    int32_t accumulate;
    int32_t first_tile;  // the rows of this target begin at this tile; set by launch
    // kAttention
    int32_t head_width, pairs;  // rotated pairs of a head; 0: not rotated
    int32_t store;              // 1: keys, 2: values
    int32_t padding;
    const float* frequencies;
    float magnitude;
    int32_t interleaved;
  };
  Quantised x;       // for planes
  Rows floats;       // for plain numbers
  int32_t has_norm;  // one token: the kernel makes x itself, from norm.x; norm.out gets the floats
  int32_t padding;
  NormArgs norm;
  Quantised to;  // kGated: the outputs in eight bits; or null
  int32_t tokens, columns;
  Epilogue epilogue;
  int32_t count;
  int32_t before_gate;  // the product behind is a gated feed-forward network's first
  // Set by launch. 1 << part_bits warps share rows. kGated: behind the tiles that all blocks have equally many of,
  // `rest_tiles` smaller ones, whose rows more warps share.
  int32_t part_bits, tiles, chunks, rest_bits, rest_tiles, rest_chunks;
  int32_t more_padding;
  int32_t* arrived;  // kGated with codes: kMostGroups counters, which are zero
  Activation activation;
  float clamp;
  int32_t dependent;  // launched before the kernel ahead of it has ended
  const int32_t* positions;
  Pages keys, values;
  const DeviceSequence* sequences;
  const RowPlace* places;
  Target targets[LinearArgs::kTargets];
};
constexpr int kMostTokens = 8;
constexpr int kMostGroups = 1024;      // of outputs that several blocks have made
constexpr int kWidestPrologue = 4096;  // columns of the RMS norm that a block can do itself
// All targets have one format: planes, or F32, F16, BF16 with rows of whole 16-byte pieces.
void launch(const MatvecArgs& args, cudaStream_t stream);

// The same for up to kMostFew tokens and planes, without a norm and without codes of the outputs.
struct FewArgs {
  MatvecArgs matvec;
  int32_t slices;  // of the columns, each of other blocks
  int32_t blocks, shared;
  int32_t padding;
  int64_t partials, counters;  // what there must be room for: floats; and counters, which are zero
  float* partial;
  int32_t* arrived;
};
constexpr int kMostFew = 16;
// Whether the current device has the kernel, and it is the fastest.
bool has_few_product(Format format, int tokens, int columns);
FewArgs plan_few(const MatvecArgs& args);
void launch(const FewArgs& args, cudaStream_t stream);
bool has_matvec(const WeightRef& weight);
// For targets in planes of two formats, the norm and one token, with Epilogue::kAttention.
bool can_mix(Format a, Format b);
void launch_mixed(const MatvecArgs& args, cudaStream_t stream);

struct PlaneExpertsArgs {
  ExpertsArgs experts;
  Quantised x;
};
void launch(const PlaneExpertsArgs& args, cudaStream_t stream);

// Attention of a few rows, keys split over blocks.
struct SplitAttentionArgs {
  AttentionArgs attention;
  float* partial;    // (rows, heads, splits, dv + 2)
  int32_t* arrived;  // (split_counters), zero
  Quantised to;      // the outputs (rows, heads * dv), quantised; or null
  Sixteen sixteen;   // the same in 16 bits; data may be null
  int32_t splits, tile_keys;
  int32_t dependent;
  int32_t padding;
};
bool can_split(const AttentionArgs& args);
uint64_t split_bytes(const AttentionArgs& args);
int split_count(const AttentionArgs& args);
int64_t split_counters(const AttentionArgs& args);
void launch(const SplitAttentionArgs& args, cudaStream_t stream);

}  // namespace metallic::cuda
