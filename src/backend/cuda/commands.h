// One operation as plain data: what a backend call becomes once all its host arguments (ids, positions, page tables)
// are in device memory. A list of commands can be compared byte by byte, planned, launched, and captured in a CUDA
// graph. Host and device share it; strides are in elements, not bytes, where not said otherwise.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backend/backend.h"
#include "backend/sampling.h"
#include "metallic/format.h"

namespace metallic::cuda {

// Where the numbers of a weight lie.
enum class Layout : int32_t {
  kBlocks,  // as in the file, `columns` weights a row, densely
  kPlanes,  // split into planes (planes.h)
  kSlices,  // in slices of either kind (slices.h); only in lists that a launcher has joined
};

// A matrix as kernels see it.
struct WeightRef {
  const void* codes;   // the blocks, or the low four or all eight bits of the codes
  const void* high;    // kPlanes: fifth and sixth bits
  const void* scales;  // kPlanes: of groups
  const void* supers;  // kPlanes: of blocks of 256
  int64_t row_bytes;   // kBlocks: from one row to the next
  int32_t rows, columns;
  Format format;
  Layout layout;
};

// (rows, width) floats, contiguous in a row.
struct Rows {
  float* data;
  int64_t stride;
};

// (rows, heads, width) floats.
struct Heads {
  float* data;
  int64_t row_stride, head_stride;
};

// Up to four dimensions with byte strides.
struct Strided {
  char* data;
  int64_t stride[4];
};

struct EmbedArgs {
  WeightRef weight;
  const int32_t* ids;
  int32_t count;
  float scale;
  Rows out;
};

struct NormArgs {
  int32_t layer;  // 1: layer norm, 0: RMS norm
  float epsilon;
  int32_t rows, heads, width;
  Heads x, out;
  const float* weight;
  const float* bias;
  int64_t weight_stride;
};

struct LinearArgs {
  static constexpr int kTargets = 3;
  struct Target {
    WeightRef weight;
    const float* bias;
    Rows out;
    int32_t accumulate;
    int32_t padding;
  };
  Rows x;
  int32_t rows, columns;
  int32_t count;  // targets
  int32_t padding;
  Target targets[kTargets];
};

struct RopeArgs {
  Heads x;
  int32_t rows, heads, pairs;
  int32_t interleaved;
  const int32_t* positions;
  const float* frequencies;
  float magnitude;
  int32_t padding;
};

// A sequence of a batch, in device memory.
struct DeviceSequence {
  int32_t first_row, rows, position;
  int32_t padding;
  const int32_t* pages;
};

// KV pages: (pages, kv_heads, page_tokens, width), dense.
struct Pages {
  void* data;
  int64_t page_stride, head_stride, token_stride;  // elements
  Format format;
  int32_t page_tokens, width;
  int32_t padding;
};

// A row of a batch: its sequence, its number in the batch's tensors, its position in the sequence and the page of that.
struct RowPlace {
  int32_t sequence, row, position, page;
};

struct StoreArgs {
  Heads key, value;
  Pages keys, values;
  const DeviceSequence* sequences;
  const RowPlace* places;
  int32_t rows, kv_heads;  // rows: of all sequences
};

struct AttentionArgs {
  Heads query, out;
  Pages keys, values;
  const DeviceSequence* sequences;
  const RowPlace* places;
  const float* sinks;
  const float* slopes;  // (heads), of alibi.h; or null
  int32_t rows, heads, kv_heads;
  int32_t window, causal;
  float scale, softcap;
  int32_t longest;  // no sequence has more positions; a rounded number, so that it changes rarely
  int32_t sequence_count;
  int32_t most_rows;  // of one sequence
};

struct ActivateArgs {
  Activation activation;
  float clamp;
  Rows x, factor, out;
  int32_t rows, width;
};

struct BinaryArgs {
  int32_t multiply;
  int32_t padding;
  int64_t size[4];
  Strided a, b, out;
};

struct ScaleArgs {
  Rows x;
  int32_t rows, width;
  float factor, softcap;
};

struct RouteArgs {
  Rows logits;
  const float* selection_bias;
  int32_t* ids;
  float* weights;
  int32_t rows, experts;
  int32_t sigmoid, used, groups, groups_used, group_top, normalise;
  float scale;
  int32_t padding;
};

struct ExpertsArgs {
  Rows x, out;
  const WeightRef* experts;  // on the device
  const float* bias;
  const int32_t* ids;
  int32_t pairs, used;
  int32_t own_rows;  // x has a row for each pair
  int32_t rows, columns;
  Format format;
  int32_t in_planes;
  int32_t padding;
};

struct CombineArgs {
  Rows x, out;
  const float* weights;
  int32_t rows, used, width;
  int32_t padding;
};

struct SoftmaxArgs {
  Strided x, out;
  int64_t size[4];
};

struct MatmulArgs {
  Strided a, b, out;
  int64_t batch, channels, rows, inner, columns;
};

// Element by element between number types, or block by block within one format (`from_format` == `to_format`).
struct CopyArgs {
  Strided from, to;
  int64_t size[4];  // the last: elements, or blocks
  Format from_format, to_format;
  int32_t block_bytes;  // of one format: bytes to move
  int32_t padding;
};

struct DecodeArgs {  // rows of blocks to dense rows of floats
  WeightRef weight;
  float* out;
};

struct RandomArgs {
  float* out;
  int64_t count;
  uint64_t seed;
  float lo, range, below_hi;
  int32_t padding;
};

// One row's choice; its changes are changes[first_change..].
struct SampleChoice {
  int32_t first_change, change_count;
  float repeat, frequency, presence;
  int32_t top_k;
  float top_p, log_min_p, temperature;
  int32_t on_host;
  double unit;
};

// A row of logits is cut into groups of neighbours, of which each has a maximum and a sum.
constexpr int kMostSampleGroups = 2048;
constexpr int kMostSampleTopK = 512;
struct SampleArgs {
  Rows logits;
  int32_t rows, width;
  int32_t group, groups;  // numbers of a group; groups of a row
  int32_t lanes;          // threads for the maximum of a group: a power of two up to 32
  int32_t has_changes, has_sums;
  int32_t padding;
  const SampleChoice* choices;  // (rows)
  const LogitChange* changes;
  float* originals;  // as many: the logits before them
  uint64_t* maxima;  // (rows, groups)
  double* sums;      // (rows, groups)
  int32_t* ids;      // (rows)
};

enum class CommandKind : int32_t {
  kEmbed,
  kNorm,
  kLinear,
  kRope,
  kStore,
  kAttention,
  kActivate,
  kBinary,
  kScale,
  kRoute,
  kExperts,
  kCombine,
  kSoftmax,
  kMatmul,
  kCopy,
  kRandom,
  kSample,
};

struct Command {
  CommandKind kind;
  int32_t padding;
  union {
    EmbedArgs embed;
    NormArgs norm;
    LinearArgs linear;
    RopeArgs rope;
    StoreArgs store;
    AttentionArgs attention;
    ActivateArgs activate;
    BinaryArgs binary;
    ScaleArgs scale;
    RouteArgs route;
    ExpertsArgs experts;
    CombineArgs combine;
    SoftmaxArgs softmax;
    MatmulArgs matmul;
    CopyArgs copy;
    RandomArgs random;
    SampleArgs sample;
  };

  // All bytes are zero, padding too, so that commands compare as bytes.
  explicit Command(CommandKind which) {
    std::memset(static_cast<void*>(this), 0, sizeof(*this));
    kind = which;
  }
};
static_assert(std::is_trivially_copyable_v<Command>);

}  // namespace metallic::cuda
