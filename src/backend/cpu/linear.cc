// out = x * weight^T + bias in float, for weights that are not quantised. A thread takes some rows of the weight, turns
// a chunk of their columns into floats in its cache, and multiplies them with all tokens, tile by tile.
//
// Floor: one token: the bytes of the weight over the memory's bandwidth. Many: 2 * rows * columns * tokens operations
// over the peak of the fused multiply-add.
//
// Order of an element's sum: lane by lane within a chunk of kSumChunk columns, the lanes in one tree, then chunk after
// chunk; it depends on nothing else.
#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/linear_rows.h"
#include "quant/dequantize.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kWeightStride =
    kSumChunk + 16;              // floats between rows: not a power of two, whose lines would share a set
constexpr int64_t kFewRows = 8;  // of a block for few tokens
constexpr int64_t kCacheLine = 64;

// The tokens, interleaved for the dot tiles.
struct Tokens {
  const float* data;  // tile after tile of (padded columns / width, tokens of the tile, width)
  int64_t count;
  int64_t columns, padded_columns;
  int64_t tiles;
};

// What one block of rows needs of a thread: kManyRows rows of a chunk, and their sums for all tokens.
struct Workspace {
  float* weights;  // (kManyRows, kWeightStride)
  float* sums;     // (tokens, kManyRows)
  static int64_t floats(int64_t tokens) { return kManyRows * (kWeightStride + tokens); }
};

void prefetch(const uint8_t* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(from + at, 0, 3);
}

// The rows' columns [begin, begin + columns) as floats, padded with zeros to whole vectors and tiles of rows.
void load_weights(const Kernels& kernels, const Rows& rows, int64_t begin, int64_t columns, bool prefetch_next,
                  float* out) {
  const Weight& weight = *rows.target->weight;
  const FormatInfo& info = format_info(weight.view.format);
  const DequantizeRow dequantize = dequantize_function(weight.view.format);
  const int64_t offset = begin / info.block_elements * info.block_bytes;
  const int64_t bytes = columns / info.block_elements * info.block_bytes;
  // The next chunk of the same row, or the first chunk of the row that takes its place in the next block.
  const bool last = begin + columns == weight.columns();
  const int64_t ahead = last ? rows.count * weight.view.stride[0] - offset : bytes;
  const int64_t padded = round_up(columns, kernels.width);
  for (int64_t r = 0; r < rows.count; ++r) {
    const uint8_t* row = row_of(weight, rows.first + r) + offset;
    float* to = out + r * kWeightStride;
    if (prefetch_next && rows.first + r + (last ? rows.count : 0) < weight.rows()) prefetch(row + ahead, bytes);
    dequantize(row, columns, to);
    std::fill(to + columns, to + padded, 0.0f);
  }
  for (int64_t r = rows.count; r < round_up(rows.count, kTileRows); ++r)
    std::fill_n(out + r * kWeightStride, padded, 0.0f);
}

void multiply_chunk(const Kernels& kernels, const Tokens& tokens, const float* weights, int64_t rows, int64_t begin,
                    int64_t columns, float* sums) {
  const int64_t steps = round_up(columns, kernels.width) / kernels.width;
  for (int64_t tile = 0; tile < tokens.tiles; ++tile) {
    const int64_t first = tile_begin(tokens.count, tokens.tiles, tile);
    const int64_t count = tile_begin(tokens.count, tokens.tiles, tile + 1) - first;
    const float* x = tokens.data + first * tokens.padded_columns + begin * count;
    for (int64_t r = 0; r < rows; r += kTileRows)
      kernels.dot[count](weights + r * kWeightStride, kWeightStride, x, steps, sums + first * kManyRows + r, kManyRows);
  }
}

void multiply_rows(const Kernels& kernels, const Tokens& tokens, const Rows& rows, const Workspace& workspace) {
  std::fill_n(workspace.sums, tokens.count * kManyRows, 0.0f);
  for (int64_t begin = 0; begin < tokens.columns; begin += kSumChunk) {
    const int64_t columns = std::min(kSumChunk, tokens.columns - begin);
    load_weights(kernels, rows, begin, columns, tokens.count < kFewTokens, workspace.weights);
    multiply_chunk(kernels, tokens, workspace.weights, rows.count, begin, columns, workspace.sums);
  }
  store_sums(rows, tokens.count, 1, workspace.sums);
}

}  // namespace

void CpuBackend::linear(const LinearOp& op) {
  if (op.x.shape[0] == 0) return;
  enum Way { kFloats, kOneLevel, kTwoLevels, kIntegers, kWays };
  std::array<std::array<LinearTarget, kMaxTargets>, kWays> targets;
  std::array<size_t, kWays> counts = {};
  METALLIC_CHECK(op.targets.size() <= kMaxTargets);
  for (const LinearTarget& target : op.targets) {
    const Format format = target.weight->view.format;
    const bool rounded = integers_ && target.precision != Precision::kFloat;
    Way way = kFloats;
    if (rounded && panel_kernels_.format(format) != nullptr)
      way = kIntegers;
    else if (rounded && format == Format::kBF16 && kernels_.bfloat != nullptr)
      way = target.precision == Precision::kDoubleCodes ? kTwoLevels : kOneLevel;
    targets[way][counts[way]++] = target;
  }
  const auto part = [&](Way way) { return LinearOp{op.x, {targets[way].data(), counts[way]}}; };
  if (counts[kIntegers] > 0) panel_linear(part(kIntegers));
  for (const Way way : {kOneLevel, kTwoLevels})
    if (counts[way] > 0) direct_linear(part(way), way);
  if (counts[kFloats] > 0) float_linear(part(kFloats));
}

void CpuBackend::float_linear(const LinearOp& op) {
  if (multiplies_directly(op)) return direct_linear(op, 0);
  const int64_t count = op.x.shape[0], columns = op.x.shape[1], width = kernels_.width;
  Tokens tokens{float_at(op.x, 0), count, columns, round_up(columns, width), tile_count(count, kernels_.dot_tokens)};
  if (count > 1 || columns != tokens.padded_columns) {
    float* packed = shared_scratch_.floats(count * tokens.padded_columns);
    tokens.data = packed;
    for_rows(tokens.tiles, columns * kernels_.dot_tokens, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t first = tile_begin(count, tokens.tiles, tile);
        interleave([&](int64_t t) { return float_at(op.x, first + t); },
                   tile_begin(count, tokens.tiles, tile + 1) - first, columns, width,
                   packed + first * tokens.padded_columns);
      }
    });
  }

  const int64_t block_rows = count < kFewTokens ? kFewRows : rows_of_block(op.targets, pool_.size());
  const int64_t blocks = count_blocks(op.targets, block_rows);
  const auto multiply = [&](int64_t block, int thread) {
    float* memory = scratch_[size_t(thread)].floats(Workspace::floats(count));
    multiply_rows(kernels_, tokens, find_block(op.targets, block_rows, block),
                  {memory, memory + kManyRows * kWeightStride});
  };
  if (count >= kFewTokens) return for_each_item(blocks, multiply);
  // One contiguous range of the weights for each thread, as the processor's own prefetching likes it.
  on_threads([&](int thread) {
    const int64_t threads = pool_.size();
    for (int64_t block = tile_begin(blocks, threads, thread); block < tile_begin(blocks, threads, thread + 1); ++block)
      multiply(block, thread);
  });
}

}  // namespace metallic::cpu
