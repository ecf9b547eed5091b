// Batched products of float tensors of any strides. A thread takes a panel of a few vectors of columns: packs that part
// of b densely, a chunk of k at a time, and runs outer tiles over all rows of a. An element's sum is in the order of k.
#include <algorithm>

#include "backend/cpu/cpu.h"
#include "backend/strided.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kChunk = 256;  // of k

int64_t floats_of(int64_t bytes) { return bytes / int64_t(sizeof(float)); }

// One panel of one matrix of the batch; all views are the matrix's own rank-2 ones.
struct Panel {
  TensorView a, b, out;
  int64_t first, columns;  // of b
};

// (count, width of the panel) from k on, zeros after the last column
void pack(const Panel& panel, int64_t k, int64_t count, int64_t width, float* out) {
  for (int64_t i = 0; i < count; ++i, out += width) {
    for (int64_t m = 0; m < panel.columns; ++m) out[m] = *float_at(panel.b, k + i, panel.first + m);
    std::fill(out + panel.columns, out + width, 0.0f);
  }
}

void multiply_panel(const Kernels& kernels, const Panel& panel, int64_t width, float* packed, float* sums) {
  const int64_t rows = panel.a.shape[0], depth = panel.a.shape[1], tiles = tile_count(rows, kOuterRows);
  const int64_t vectors = width / kernels.width;
  std::fill_n(sums, rows * width, 0.0f);
  for (int64_t k = 0; k < depth; k += kChunk) {
    const int64_t count = std::min(kChunk, depth - k);
    pack(panel, k, count, width, packed);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile_begin(rows, tiles, tile), in_tile = tile_begin(rows, tiles, tile + 1) - first;
      kernels.outer[in_tile][vectors]({float_at(panel.a, first, k), floats_of(panel.a.stride[0]),
                                       floats_of(panel.a.stride[1]), packed, width, count, sums + first * width,
                                       width});
    }
  }
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t m = 0; m < panel.columns; ++m) *float_at(panel.out, n, panel.first + m) = sums[n * width + m];
}

// Matrix (i, j) of a rank-4 view.
TensorView matrix_of(const TensorView& view, int64_t i, int64_t j) {
  return {float_at(view, i, j), view.format, {view.shape[2], view.shape[3]}, {view.stride[2], view.stride[3]}};
}

}  // namespace

void CpuBackend::matmul(const TensorView& a_view, const TensorView& b_view, const TensorView& out_view) {
  const TensorView a = rank4(a_view), b = rank4(b_view), out = rank4(out_view);
  const int64_t width = kernels_.width * kernels_.outer_vectors;
  const int64_t panels = tile_count(out.shape[3], width);
  for_each_item(out.shape[0] * out.shape[1] * panels, [&](int64_t item, int thread) {
    const int64_t first = item % panels * width, matrix = item / panels;
    const int64_t i = matrix / out.shape[1], j = matrix % out.shape[1];
    const Panel panel{matrix_of(a, i, j), matrix_of(b, i, j), matrix_of(out, i, j), first,
                      std::min(width, out.shape[3] - first)};
    float* memory = scratch_[size_t(thread)].floats((kChunk + out.shape[2]) * width);
    multiply_panel(kernels_, panel, width, memory, memory + kChunk * width);
  });
}

}  // namespace metallic::cpu
