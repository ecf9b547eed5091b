// The public operations on tensors: each checks its arguments, makes the result, and hands plain views to the backend.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/backend.h"
#include "backend/strided.h"
#include "backend/tensor_access.h"
#include "base/error.h"

namespace metallic {
namespace {

bool same_device(const Tensor& a, const Tensor& b) { return a.device() && a.device() == b.device(); }

Status check_device(const char* operation, const Tensor& a, const Tensor& b) {
  if (same_device(a, b)) return {};
  return fail(ErrorCode::kInvalidArgument, "{}: the tensors must be on one device", operation);
}

Status check_device(const char* operation, const Tensor& a) {
  if (a.device()) return {};
  return fail(ErrorCode::kInvalidArgument, "{}: an empty Tensor was given", operation);
}

// As float32 with a contiguous last dimension, which is what the backends' row operations want.
Result<Tensor> float_rows(const Tensor& x) {
  const bool rows =
      x.shape()[x.shape().rank - 1] == 1 || x.view().stride[size_t(x.shape().rank - 1)] == int64_t(sizeof(float));
  if (x.format() == Format::kF32 && rows) return x;
  return x.to(Format::kF32);
}

// The product of all dimensions but the last.
int64_t row_count(const Shape& shape) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < shape.rank; ++i) rows *= shape[i];
  return rows;
}

// All leading dimensions as one: (rows, width) of a dense tensor.
TensorView as_matrix(const Tensor& x) {
  return TensorView::dense(x.view().data, x.format(), {row_count(x.shape()), x.shape()[x.shape().rank - 1]});
}

// The broadcast shape of a and b by numpy's rule, and both views stretched to it by strides of 0.
Status broadcast(const char* operation, const Tensor& a, const Tensor& b, TensorView& a_view, TensorView& b_view,
                 int skip) {
  a_view = rank4(a.view());
  b_view = rank4(b.view());
  for (int i = 0; i < kMaxRank - skip; ++i) {
    const size_t at = size_t(i);
    int64_t& m = a_view.shape.size[at];
    int64_t& n = b_view.shape.size[at];
    if (m == n) continue;
    if (m != 1 && n != 1)
      return fail(ErrorCode::kInvalidArgument, "{}: shapes {} and {} do not fit", operation, a.shape().text(),
                  b.shape().text());
    (m == 1 ? a_view : b_view).stride[at] = 0;
    m = n = (m == 1 ? n : m);
  }
  a_view.shape.rank = b_view.shape.rank = kMaxRank;
  return {};
}

// The last `rank` dimensions of a rank-4 shape.
Shape last_dimensions(const Shape& shape, int rank) {
  return Shape(std::span(shape.size.data() + (kMaxRank - rank), size_t(rank)));
}

Result<Tensor> binary(const char* name, BinaryKind kind, const Tensor& a, const Tensor& b) {
  METALLIC_TRY(check_device(name, a, b));
  METALLIC_ASSIGN(const Tensor x, a.to(Format::kF32));
  METALLIC_ASSIGN(const Tensor y, b.to(Format::kF32));
  BinaryOp op{kind, {}, {}, {}};
  METALLIC_TRY(broadcast(name, x, y, op.a, op.b, 0));
  const Shape shape = last_dimensions(op.a.shape, std::max(a.shape().rank, b.shape().rank));
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(a.device(), shape, Format::kF32));
  op.out = rank4(out.view());
  TensorAccess::backend(*a.device()).binary(op);
  return out;
}

Status check_vector(const char* operation, const char* what, const Tensor& vector, int64_t width) {
  if (vector.shape() == Shape{width}) return {};
  return fail(ErrorCode::kInvalidArgument, "{}: the {} has shape {}, expected ({},)", operation, what,
              vector.shape().text(), width);
}

Result<Tensor> norm(const char* name, NormKind kind, const Tensor& x, const Tensor& weight, const Tensor* bias,
                    float epsilon) {
  METALLIC_TRY(check_device(name, x, weight));
  const int64_t width = x.shape()[x.shape().rank - 1];
  METALLIC_TRY(check_vector(name, "weight", weight, width));
  METALLIC_ASSIGN(const Tensor weight_floats, weight.to(Format::kF32));
  Tensor bias_floats;
  if (bias != nullptr) {
    METALLIC_TRY(check_device(name, x, *bias));
    METALLIC_TRY(check_vector(name, "bias", *bias, width));
    METALLIC_ASSIGN(bias_floats, bias->to(Format::kF32));
  }
  METALLIC_ASSIGN(const Tensor in, x.to(Format::kF32));
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(x.device(), x.shape(), Format::kF32));
  const Shape flat{row_count(x.shape()), 1, width};
  TensorAccess::backend(*x.device())
      .norm({kind, epsilon, TensorView::dense(in.view().data, Format::kF32, flat), float_at(weight_floats.view(), 0),
             bias ? float_at(bias_floats.view(), 0) : nullptr, TensorView::dense(out.view().data, Format::kF32, flat)});
  return out;
}

}  // namespace

Result<Tensor> matmul(const Tensor& a, const Tensor& b) {
  METALLIC_TRY(check_device("matmul", a, b));
  if (a.shape().rank < 2 || b.shape().rank < 2 || a.shape()[a.shape().rank - 1] != b.shape()[b.shape().rank - 2])
    return fail(ErrorCode::kInvalidArgument,
                "matmul: shapes {} and {} do not fit: (.., n, k) and (.., k, m) are needed", a.shape().text(),
                b.shape().text());
  METALLIC_ASSIGN(const Tensor x, a.to(Format::kF32));
  METALLIC_ASSIGN(const Tensor y, b.to(Format::kF32));
  TensorView left, right;
  METALLIC_TRY(broadcast("matmul", x, y, left, right, 2));
  Shape shape = left.shape;
  shape.size[3] = right.shape[3];
  METALLIC_ASSIGN(Tensor out,
                  TensorAccess::allocate(a.device(), last_dimensions(shape, std::max(a.shape().rank, b.shape().rank)),
                                         Format::kF32));
  TensorAccess::backend(*a.device()).matmul(left, right, rank4(out.view()));
  return out;
}

Result<Tensor> linear(const Tensor& x, const Tensor& weight, const Tensor* bias) {
  METALLIC_TRY(check_device("linear", x, weight));
  const int64_t columns = x.shape()[x.shape().rank - 1];
  if (weight.shape().rank != 2 || weight.shape()[1] != columns || !weight.view().is_contiguous())
    return fail(ErrorCode::kInvalidArgument, "linear: x {} needs a contiguous weight of shape (m, {}), not {}",
                x.shape().text(), columns, weight.shape().text());
  const int64_t rows = weight.shape()[0];
  Tensor bias_floats;
  if (bias != nullptr) {
    METALLIC_TRY(check_device("linear", x, *bias));
    METALLIC_TRY(check_vector("linear", "bias", *bias, rows));
    METALLIC_ASSIGN(bias_floats, bias->to(Format::kF32));
  }
  METALLIC_ASSIGN(const Tensor in, x.to(Format::kF32));
  Shape shape = x.shape();
  shape.size[size_t(shape.rank - 1)] = rows;
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(x.device(), shape, Format::kF32));
  Backend& backend = TensorAccess::backend(*x.device());
  METALLIC_ASSIGN(const Weight loaded, backend.load_plain(weight.view(), TensorAccess::owner(weight)));
  const LinearTarget target{&loaded, bias ? float_at(bias_floats.view(), 0) : nullptr, as_matrix(out), false,
                            Precision::kFloat};
  backend.linear({as_matrix(in), {&target, 1}});
  return out;
}

Result<Tensor> add(const Tensor& a, const Tensor& b) { return binary("add", BinaryKind::kAdd, a, b); }
Result<Tensor> mul(const Tensor& a, const Tensor& b) { return binary("mul", BinaryKind::kMultiply, a, b); }

Result<Tensor> softmax(const Tensor& x) {
  METALLIC_TRY(check_device("softmax", x));
  METALLIC_ASSIGN(const Tensor in, float_rows(x));
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(x.device(), x.shape(), Format::kF32));
  TensorAccess::backend(*x.device()).softmax(in.view(), out.view());
  return out;
}

Result<Tensor> activate(const Tensor& x, Activation activation) {
  METALLIC_TRY(check_device("activate", x));
  METALLIC_ASSIGN(const Tensor in, x.to(Format::kF32));
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(x.device(), x.shape(), Format::kF32));
  TensorAccess::backend(*x.device()).activate({activation, as_matrix(in), {}, as_matrix(out)});
  return out;
}

Result<Tensor> rms_norm(const Tensor& x, const Tensor& weight, float epsilon) {
  return norm("rms_norm", NormKind::kRms, x, weight, nullptr, epsilon);
}

Result<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor* bias, float epsilon) {
  return norm("layer_norm", NormKind::kLayer, x, weight, bias, epsilon);
}

Result<Tensor> rope(const Tensor& x, std::span<const int32_t> positions, float base, RopeStyle style) {
  METALLIC_TRY(check_device("rope", x));
  if (x.shape().rank != 3 || x.shape()[2] % 2 != 0 || int64_t(positions.size()) != x.shape()[0])
    return fail(ErrorCode::kInvalidArgument,
                "rope: x {} must be (rows, heads, even d), with one position for each row; {} given", x.shape().text(),
                positions.size());
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(x.device(), x.shape(), Format::kF32));
  Backend& backend = TensorAccess::backend(*x.device());
  METALLIC_ASSIGN(const Tensor in, x.to(Format::kF32));
  backend.copy(in.view(), out.view());
  std::vector<float> frequencies(size_t(x.shape()[2] / 2));
  for (size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = float(std::pow(double(base), -2.0 * double(i) / double(x.shape()[2])));
  backend.rope({out.view(), positions.data(), frequencies, 1.0f, style});
  METALLIC_TRY(backend.synchronize());
  return out;
}

Result<Tensor> attention(const Tensor& query, const Tensor& key, const Tensor& value, float scale, bool causal,
                         int window) {
  METALLIC_TRY(check_device("attention", query, key));
  METALLIC_TRY(check_device("attention", query, value));
  const Shape &q = query.shape(), &k = key.shape(), &v = value.shape();
  const bool fits = q.rank == 3 && k.rank == 3 && v.rank == 3 && k[2] == q[2] && v[0] == k[0] && v[1] == k[1] &&
                    k[1] > 0 && q[1] % k[1] == 0 && q[0] <= k[0] && window >= 0;
  if (!fits)
    return fail(ErrorCode::kInvalidArgument,
                "attention: query {}, key {}, value {}: (n, heads, d), (t, kv_heads, d), (t, kv_heads, dv) with n <= t "
                "are needed",
                q.text(), k.text(), v.text());
  METALLIC_ASSIGN(Tensor out, TensorAccess::allocate(query.device(), {q[0], q[1], v[2]}, Format::kF32));
  if (out.shape().elements() == 0) return out;
  METALLIC_ASSIGN(const Tensor queries, float_rows(query));
  METALLIC_ASSIGN(const Tensor keys, float_rows(key));
  METALLIC_ASSIGN(const Tensor values, float_rows(value));
  // One page that holds all keys: (t, kv_heads, d) seen as (1, kv_heads, t, d).
  const auto as_page = [](const TensorView& rows) {
    return TensorView{rows.data,
                      rows.format,
                      {1, rows.shape[1], rows.shape[0], rows.shape[2]},
                      {0, rows.stride[1], rows.stride[0], rows.stride[2]}};
  };
  const int32_t page = 0;
  const BatchSequence sequence{0, int32_t(q[0]), int32_t(k[0] - q[0]), &page};
  Backend& backend = TensorAccess::backend(*query.device());
  backend.attention({queries.view(),
                     as_page(keys.view()),
                     as_page(values.view()),
                     out.view(),
                     {&sequence, 1},
                     scale,
                     window,
                     causal});
  METALLIC_TRY(backend.synchronize());
  return out;
}

}  // namespace metallic
