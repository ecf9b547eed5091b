// The operations that work row by row: norms, rope, activations, element-wise ones, softmax, and moving rows about.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/activation.h"
#include "backend/copy.h"
#include "backend/cpu/cpu.h"
#include "backend/kv_rows.h"
#include "backend/strided.h"
#include "base/check.h"

namespace metallic::cpu {
namespace {

bool dense_rows(const TensorView& rank4_view) {
  return rank4_view.stride[3] == int64_t(sizeof(float)) || rank4_view.shape[3] <= 1;
}

// One row of a binary operation; a and b may repeat one element.
void binary_row(const Kernels& kernels, BinaryKind kind, const TensorView& a, const TensorView& b,
                const TensorView& out, int64_t i, int64_t j, int64_t k) {
  const int64_t width = out.shape[3];
  const float *x = float_at(a, i, j, k), *y = float_at(b, i, j, k);
  float* to = float_at(out, i, j, k);
  const bool dense_out = dense_rows(out);
  if (dense_out && dense_rows(a) && dense_rows(b))
    return kind == BinaryKind::kAdd ? kernels.add(x, y, width, to) : kernels.multiply(x, y, width, to);
  if (dense_out && dense_rows(a) && b.stride[3] == 0)
    return kind == BinaryKind::kAdd ? kernels.add_one(x, *y, width, to) : kernels.scale(x, width, *y, to);
  if (dense_out && dense_rows(b) && a.stride[3] == 0)
    return kind == BinaryKind::kAdd ? kernels.add_one(y, *x, width, to) : kernels.scale(y, width, *x, to);
  for (int64_t l = 0; l < width; ++l) {
    const float left = *float_at(a, i, j, k, l), right = *float_at(b, i, j, k, l);
    *float_at(out, i, j, k, l) = kind == BinaryKind::kAdd ? left + right : left * right;
  }
}

struct Index {
  int64_t i, j, k;
};

// The `row`-th row of a rank-4 shape, in row-major order.
Index index_of(const Shape& shape, int64_t row) {
  const int64_t k = row % shape[2], j = row / shape[2] % shape[1];
  return {row / shape[2] / shape[1], j, k};
}

int64_t row_count(const Shape& shape) { return shape[0] * shape[1] * shape[2]; }

}  // namespace

void CpuBackend::embed(const EmbedOp& op) {
  const TensorView& weight = op.weight->view;
  const DequantizeRow dequantize = dequantize_function(weight.format);
  const int64_t columns = op.weight->columns();
  for_rows(int64_t(op.ids.size()), columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* out = float_at(op.out, i);
      dequantize(static_cast<const char*>(weight.data) + op.ids[size_t(i)] * weight.stride[0], columns, out);
      if (op.scale != 1.0f) kernels_.scale(out, columns, op.scale, out);
    }
  });
}

void CpuBackend::norm(const NormOp& op) {
  const int64_t heads = op.x.shape[1], width = op.x.shape[2];
  const auto norm_row = op.kind == NormKind::kRms ? kernels_.rms_norm : kernels_.layer_norm;
  for_rows(op.x.shape[0] * heads, width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t own = i % heads * op.weight_stride;
      const NormArguments arguments{op.weight ? op.weight + own : nullptr, op.bias ? op.bias + own : nullptr,
                                    op.epsilon, width};
      norm_row(float_at(op.x, i / heads, i % heads), arguments, float_at(op.out, i / heads, i % heads));
    }
  });
}

void CpuBackend::rope(const RopeOp& op) {
  const int64_t rows = op.x.shape[0], heads = op.x.shape[1], pairs = int64_t(op.frequencies.size());
  const RopeTable& table = rope_tables_.get({op.positions, size_t(rows)}, op.frequencies, op.magnitude);
  for_rows(rows, heads * op.x.shape[2], [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t head = 0; head < heads; ++head)
        kernels_.rope(op.style, table.cosines.data() + row * pairs, table.sines.data() + row * pairs, pairs,
                      float_at(op.x, row, head));
  });
}

void CpuBackend::store_kv(const StoreKvOp& op) {
  const auto store = [&](const TensorView& rows, const TensorView& pages, const BatchSequence& sequence, int64_t i) {
    const int64_t position = sequence.position + i, page_tokens = pages.shape[2], width = rows.shape[2];
    const int32_t page = sequence.pages[position / page_tokens];
    for (int64_t head = 0; head < rows.shape[1]; ++head) {
      const float* from = float_at(rows, sequence.first_row + i, head);
      void* to = float_at(pages, page, head, position % page_tokens);
      if (pages.format == Format::kF16)
        kernels_.float_to_half(from, width, static_cast<uint16_t*>(to));
      else
        store_kv_row(pages.format, from, width, to);
    }
  };
  for (const BatchSequence& sequence : op.sequences)
    for_rows(sequence.rows, op.key.shape[1] * (op.key.shape[2] + op.value.shape[2]), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        store(op.key, op.keys, sequence, i);
        store(op.value, op.values, sequence, i);
      }
    });
}

void CpuBackend::activate(const ActivateOp& op) {
  const int64_t width = op.x.shape[1];
  if (op.clamp > 0) {  // one model's: not worth a kernel of its own
    METALLIC_CHECK(op.factor.data != nullptr);
    return for_rows(op.x.shape[0], width * 4, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t i = 0; i < width; ++i)
          float_at(op.out, row)[i] =
              gated_value(op.activation, float_at(op.x, row)[i], float_at(op.factor, row)[i], op.clamp);
    });
  }
  // Few long rows are cut too, at whole vectors.
  constexpr int64_t kPiece = 1 << 12;
  const int64_t pieces = tile_count(width, kPiece);
  for_rows(op.x.shape[0] * pieces, std::min(width, kPiece) * 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / pieces, at = i % pieces * kPiece;
      kernels_.activate(op.activation, float_at(op.x, row) + at,
                        op.factor.data != nullptr ? float_at(op.factor, row) + at : nullptr,
                        std::min(kPiece, width - at), float_at(op.out, row) + at);
    }
  });
}

void CpuBackend::binary(const BinaryOp& op) {
  const TensorView a = rank4(op.a), b = rank4(op.b), out = rank4(op.out);
  for_rows(row_count(out.shape), out.shape[3], [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Index at = index_of(out.shape, row);
      binary_row(kernels_, op.kind, a, b, out, at.i, at.j, at.k);
    }
  });
}

void CpuBackend::softmax(const TensorView& x_view, const TensorView& out_view) {
  const TensorView x = rank4(x_view), out = rank4(out_view);
  const int64_t width = x.shape[3];
  METALLIC_CHECK(dense_rows(x) && dense_rows(out));
  for_rows(row_count(x.shape), width * 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Index at = index_of(x.shape, row);
      const float* from = float_at(x, at.i, at.j, at.k);
      float* to = float_at(out, at.i, at.j, at.k);
      const float sum = kernels_.exp_sum(from, width, kernels_.maximum(from, width), to);
      kernels_.scale(to, width, 1.0f / sum, to);
    }
  });
}

void CpuBackend::copy(const TensorView& from_view, const TensorView& to_view) {
  METALLIC_CHECK(from_view.shape == to_view.shape);
  const TensorView from = rank4(from_view), to = rank4(to_view);
  // Row by row; each range of rows is a view of its own.
  for_rows(row_count(from.shape), from.shape[3], [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Index at = index_of(from.shape, row);
      const auto one_row = [&](const TensorView& view) {
        return TensorView{float_at(view, at.i, at.j, at.k), view.format, {view.shape[3]}, {view.stride[3]}};
      };
      copy_view(one_row(from), one_row(to));
    }
  });
}

void CpuBackend::random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) {
  constexpr int64_t kPiece = 1 << 14;
  const int64_t count = out.shape.elements();
  const float below_hi = std::nextafterf(hi, lo);
  float* values = float_at(out, 0);
  for_rows(tile_count(count, kPiece), kPiece, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * kPiece; at < std::min(end * kPiece, count); at += kPiece)  // no piece crosses 2^32
      kernels_.random(random_keys(seed, uint64_t(at)), uint32_t(at), std::min(kPiece, count - at), lo, hi - lo,
                      below_hi, values + at);
  });
}

}  // namespace metallic::cpu
