// out = x * weight^T + bias for weights that are not quantised, straight from the file's bytes: a few tokens as floats,
// and for BF16 weights any number as bfloat16, in one level or two (what rounding left of the first).
//
// Floor: few tokens: the bytes of the weights over the memory's bandwidth. Many: 2 * rows * columns * tokens * levels
// operations over the peak of the bfloat16 dot product.
//
// The order of an element's sum: chunk after chunk of columns, as in linear.cc.
#include <array>
#include <cstddef>

#include "backend/cpu/linear_rows.h"

namespace metallic::cpu {
namespace {

class DirectProduct {
 public:
  // Tokens as bfloat16 in so many levels; 0: as floats.
  DirectProduct(const Kernels& kernels, const TensorView& x, int bfloat_levels)
      : kernels_(kernels),
        x_(x),
        bfloat_(bfloat_levels > 0),
        levels_(bfloat_ ? bfloat_levels : 1),
        step_(bfloat_ ? kernels.bfloat->step : kernels.width),
        element_(bfloat_ ? sizeof(uint16_t) : sizeof(float)),
        chunk_(bfloat_ ? kernels.bfloat->chunk : kSumChunk),
        padded_(round_up(columns(), step_)),
        tiles_(tile_count(count(), (bfloat_ ? kernels.bfloat->tokens : kernels.dot_tokens) / levels_)) {}

  int64_t tiles() const { return tiles_; }
  int64_t rows() const { return count() * levels_; }
  int64_t bytes() const { return rows() * padded_ * element_; }
  void set_memory(std::byte* memory) { tokens_ = memory; }

  // Lays the tokens of a tile out as the kernels take them.
  void pack(int64_t tile) {
    const int64_t first = tile_begin(count(), tiles_, tile), tokens = tile_begin(count(), tiles_, tile + 1) - first;
    std::byte* to = tokens_ + first * levels_ * padded_ * element_;
    if (!bfloat_)
      return interleave([&](int64_t t) { return float_at(x_, first + t); }, tokens, columns(), step_,
                        reinterpret_cast<float*>(to));
    auto* words = reinterpret_cast<uint16_t*>(to);
    for (int64_t t = 0; t < tokens; ++t)
      kernels_.bfloat->split(float_at(x_, first + t), columns(), int(t * levels_), int(tokens * levels_), words,
                             levels_ == 2 ? words + step_ : nullptr);
  }

  void multiply(const Rows& rows, float* sums) const {
    const Weight& weight = *rows.target->weight;
    const FormatInfo& info = format_info(weight.view.format);
    const DirectTiles& tiles = bfloat_ ? kernels_.bfloat->tiles : *direct_tiles(kernels_, weight.view.format);
    const int64_t stride = weight.view.stride[0];
    std::fill_n(sums, this->rows() * kManyRows, 0.0f);
    for (int64_t begin = 0; begin < columns(); begin += chunk_) {
      const int64_t width = std::min(chunk_, columns() - begin);
      for (int64_t i = 0; i < tiles_; ++i) {
        const int64_t first = tile_begin(count(), tiles_, i) * levels_;
        const int64_t tokens = tile_begin(count(), tiles_, i + 1) * levels_ - first;
        const std::byte* x = tokens_ + (first * padded_ + begin * tokens) * element_;
        const uint8_t* from = row_of(weight, rows.first) + begin * info.block_bytes;
        float* to = sums + first * kManyRows;
        int64_t r = 0;
        for (; r + kTileRows <= rows.count; r += kTileRows)
          tiles.tile[tokens](from + r * stride, stride, x, width, to + r, kManyRows);
        for (; r < rows.count; ++r) multiply_row(tiles.tile[tokens], from + r * stride, x, tokens, width, to + r);
      }
    }
    store_sums(rows, count(), levels_, sums);
  }

  static const DirectTiles* direct_tiles(const Kernels& kernels, Format format) {
    switch (format) {
      case Format::kF32:
        return &kernels.direct_f32;
      case Format::kF16:
        return &kernels.direct_f16;
      case Format::kBF16:
        return &kernels.direct_bf16;
      default:
        return nullptr;
    }
  }

 private:
  int64_t count() const { return x_.shape[0]; }
  int64_t columns() const { return x_.shape[1]; }

  // A row that no tile has, as all rows of one.
  static void multiply_row(DirectTile tile, const uint8_t* row, const std::byte* x, int64_t tokens, int64_t columns,
                           float* sums) {
    std::array<float, kMaxDotTokens* kTileRows> copies = {};
    for (int64_t t = 0; t < tokens; ++t) copies[size_t(t * kTileRows)] = sums[t * kManyRows];
    tile(row, 0, x, columns, copies.data(), kTileRows);
    for (int64_t t = 0; t < tokens; ++t) sums[t * kManyRows] = copies[size_t(t * kTileRows)];
  }

  const Kernels& kernels_;
  const TensorView& x_;
  bool bfloat_;
  int64_t levels_, step_, element_, chunk_, padded_, tiles_;
  std::byte* tokens_ = nullptr;
};

}  // namespace

bool CpuBackend::multiplies_directly(const LinearOp& op) const {
  return op.x.shape[0] <= kFewTokens && op.x.shape[1] % kernels_.width == 0 &&
         std::all_of(op.targets.begin(), op.targets.end(), [&](const LinearTarget& target) {
           return DirectProduct::direct_tiles(kernels_, target.weight->view.format) != nullptr;
         });
}

void CpuBackend::direct_linear(const LinearOp& op, int bfloat_levels) {
  DirectProduct product(kernels_, op.x, bfloat_levels);
  product.set_memory(
      reinterpret_cast<std::byte*>(shared_scratch_.floats(tile_count(product.bytes(), int64_t(sizeof(float))))));
  for_rows(product.tiles(), op.x.shape[1] * kMaxDotTokens, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) product.pack(tile);
  });
  const bool few = product.rows() <= kFewTokens;
  const int64_t block_rows = few ? kTileRows : rows_of_block(op.targets, pool_.size());
  const int64_t blocks = count_blocks(op.targets, block_rows);
  const auto multiply = [&](int64_t block, int thread) {
    product.multiply(find_block(op.targets, block_rows, block),
                     scratch_[size_t(thread)].floats(product.rows() * kManyRows));
  };
  if (!few) return for_each_item(blocks, multiply);
  for_each_range(blocks, 1, [&](int64_t begin, int64_t end, int thread, bool) {
    for (int64_t block = begin; block < end; ++block) multiply(block, thread);
  });
}

}  // namespace metallic::cpu
