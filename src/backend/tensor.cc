// Shapes, views, and the Tensor class: everything that moves no data, or only copies it.
#include "metallic/tensor.h"

#include <algorithm>

#include "backend/backend.h"
#include "backend/strided.h"
#include "backend/tensor_access.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/error.h"

namespace metallic {

Shape::Shape(std::span<const int64_t> sizes) : rank(int(sizes.size())), size{1, 1, 1, 1} {
  METALLIC_CHECK(!sizes.empty() && sizes.size() <= size_t(kMaxRank));
  std::copy(sizes.begin(), sizes.end(), size.begin());
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int i = 0; i < rank; ++i) product *= (*this)[i];
  return product;
}

bool Shape::operator==(const Shape& other) const {
  return rank == other.rank && std::equal(size.begin(), size.begin() + rank, other.size.begin());
}

std::string Shape::text() const {
  std::string text = "(";
  for (int i = 0; i < rank; ++i) text += (i > 0 ? ", " : "") + std::to_string((*this)[i]);
  return text + (rank == 1 ? ",)" : ")");
}

TensorView TensorView::dense(void* data, Format format, const Shape& shape) {
  const FormatInfo& info = format_info(format);
  TensorView view{data, format, shape, {}};
  const int last = shape.rank - 1;
  int64_t bytes = info.block_bytes;
  view.stride[size_t(last)] = bytes;
  bytes = shape[last] / info.block_elements * bytes;
  for (int i = last - 1; i >= 0; --i) {
    view.stride[size_t(i)] = bytes;
    bytes *= shape[i];
  }
  return view;
}

bool TensorView::is_contiguous() const {
  if (shape.elements() == 0) return true;
  const TensorView packed = dense(data, format, shape);
  for (int i = 0; i < shape.rank; ++i)
    if (shape[i] != 1 && stride[size_t(i)] != packed.stride[size_t(i)]) return false;
  return true;
}

TensorView rank4(const TensorView& view) {
  TensorView result{view.data, view.format, {1, 1, 1, 1}, {0, 0, 0, 0}};
  for (int i = 0; i < view.shape.rank; ++i) {
    const size_t to = size_t(kMaxRank - view.shape.rank + i);
    result.shape.size[to] = view.shape[i];
    result.stride[to] = view.stride[size_t(i)];
  }
  return result;
}

namespace {

// The bytes of a dense tensor, or what is wrong with its shape.
Result<uint64_t> bytes_of(const Shape& shape, Format format) {
  uint64_t elements = 1;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape[i] < 0) return fail(ErrorCode::kInvalidArgument, "shape {} has a negative size", shape.text());
    const std::optional<uint64_t> product = checked_multiply(elements, uint64_t(shape[i]));
    if (!product || *product > uint64_t(INT64_MAX))
      return fail(ErrorCode::kInvalidArgument, "shape {} is too large", shape.text());
    elements = *product;
  }
  const FormatInfo& info = format_info(format);
  if (shape[shape.rank - 1] % info.block_elements != 0)
    return fail(ErrorCode::kInvalidArgument, "the last dimension of {} is no multiple of {}, the block of {}",
                shape.text(), info.block_elements, info.name);
  const std::optional<uint64_t> bytes = format_bytes(format, elements);
  if (!bytes || *bytes > uint64_t(INT64_MAX))
    return fail(ErrorCode::kInvalidArgument, "shape {} is too large", shape.text());
  return *bytes;
}

bool is_float(Format format) { return format == Format::kF32 || format == Format::kF16 || format == Format::kBF16; }

// Strides under which a view's elements, in row-major order, have the new shape; false if only a copy can give them.
bool strides_for(const TensorView& view, const Shape& shape, std::array<int64_t, kMaxRank>& stride) {
  int from = view.shape.rank - 1;
  int64_t left = 1;  // elements of the current run of old dimensions not yet given to new ones
  int64_t step = 0;  // bytes between neighbours in that run
  for (int to = shape.rank - 1; to >= 0; --to) {
    while (left == 1 && from >= 0) {  // start a run: it goes on as long as dimensions lie densely inside one another
      left = view.shape[from];
      step = view.stride[size_t(from)];
      int64_t next = step * left;
      for (--from; from >= 0 && (view.shape[from] == 1 || view.stride[size_t(from)] == next); --from) {
        left *= view.shape[from];
        next *= view.shape[from];
      }
    }
    stride[size_t(to)] = step;
    if (left % shape[to] != 0) return false;
    left /= shape[to];
    step *= shape[to];
  }
  return true;
}

}  // namespace

Result<Tensor> TensorAccess::allocate(const std::shared_ptr<Device>& device, const Shape& shape, Format format) {
  if (!device) return fail(ErrorCode::kInvalidArgument, "a tensor needs a device; open one with Device::open");
  METALLIC_ASSIGN(const uint64_t bytes, bytes_of(shape, format));
  METALLIC_ASSIGN(std::shared_ptr<void> memory, backend(*device).allocate(bytes));
  const TensorView view = TensorView::dense(memory.get(), format, shape);
  return make(device, std::move(memory), view);
}

Backend& TensorAccess::backend(Device& device) { return static_cast<Backend&>(device); }

Tensor TensorAccess::make(std::shared_ptr<Device> device, std::shared_ptr<void> owner, const TensorView& view) {
  Tensor tensor;
  tensor.device_ = std::move(device);
  tensor.owner_ = std::move(owner);
  tensor.view_ = view;
  return tensor;
}

Result<Tensor> Tensor::zeros(const std::shared_ptr<Device>& device, const Shape& shape, Format format) {
  return TensorAccess::allocate(device, shape, format);
}

Result<Tensor> Tensor::from_bytes(const std::shared_ptr<Device>& device, const Shape& shape, Format format,
                                  std::span<const std::byte> bytes) {
  METALLIC_ASSIGN(const uint64_t wanted, bytes_of(shape, format));
  if (bytes.size() != wanted)
    return fail(ErrorCode::kInvalidArgument, "{} bytes given for a {} tensor of shape {}, which takes {}", bytes.size(),
                format_info(format).name, shape.text(), wanted);
  METALLIC_ASSIGN(Tensor tensor, TensorAccess::allocate(device, shape, format));
  TensorAccess::backend(*device).copy_from_host(tensor.view_.data, bytes.data(), wanted);
  return tensor;
}

Result<Tensor> Tensor::from_floats(const std::shared_ptr<Device>& device, const Shape& shape,
                                   std::span<const float> values) {
  return from_bytes(device, shape, Format::kF32, std::as_bytes(values));
}

Result<Tensor> Tensor::random_uniform(const std::shared_ptr<Device>& device, const Shape& shape, float lo, float hi,
                                      uint64_t seed) {
  if (!(lo < hi) || !(hi - lo <= 3.4e38f))
    return fail(ErrorCode::kInvalidArgument, "random_uniform from {} to {}: the range must be finite and not empty", lo,
                hi);
  METALLIC_ASSIGN(Tensor tensor, TensorAccess::allocate(device, shape, Format::kF32));
  TensorAccess::backend(*device).random_uniform(tensor.view_, lo, hi, seed);
  return tensor;
}

Result<Tensor> Tensor::permute(std::span<const int> order) const {
  const int rank = shape().rank;
  if (int(order.size()) != rank)
    return fail(ErrorCode::kInvalidArgument, "permute: {} dimensions given for a tensor of rank {}", order.size(),
                rank);
  Tensor result = *this;
  unsigned seen = 0;
  for (int i = 0; i < rank; ++i) {
    const int from = order[size_t(i)];
    if (from < 0 || from >= rank || (seen >> from & 1u))
      return fail(ErrorCode::kInvalidArgument, "permute: dimension {} is out of range or given twice (rank {})", from,
                  rank);
    seen |= 1u << from;
    result.view_.shape.size[size_t(i)] = shape()[from];
    result.view_.stride[size_t(i)] = view_.stride[size_t(from)];
  }
  if (format_info(format()).block_elements > 1 && order[size_t(rank - 1)] != rank - 1)
    return fail(ErrorCode::kInvalidArgument, "permute: the last dimension of a {} tensor has to stay last",
                format_info(format()).name);
  return result;
}

Result<Tensor> Tensor::slice(int dimension, int64_t begin, int64_t end, int64_t step) const {
  if (dimension < 0 || dimension >= shape().rank)
    return fail(ErrorCode::kInvalidArgument, "slice: dimension {} of a tensor of rank {}", dimension, shape().rank);
  const int64_t size = shape()[dimension];
  if (begin < 0 || begin > end || end > size || step < 1)
    return fail(ErrorCode::kInvalidArgument, "slice: [{}, {}) step {} of dimension {}, which has size {}", begin, end,
                step, dimension, size);
  const FormatInfo& info = format_info(format());
  int64_t blocks = begin;
  if (info.block_elements > 1 && dimension == shape().rank - 1) {
    if (begin % info.block_elements != 0 || end % info.block_elements != 0 || step != 1)
      return fail(ErrorCode::kInvalidArgument, "slice: [{}, {}) step {} cuts through blocks of {} ({} elements)", begin,
                  end, step, info.name, info.block_elements);
    blocks = begin / info.block_elements;
  }
  Tensor result = *this;
  const size_t at = size_t(dimension);
  result.view_.data = static_cast<char*>(view_.data) + blocks * view_.stride[at];
  const int64_t count = (end - begin) / step + ((end - begin) % step != 0 ? 1 : 0);
  result.view_.shape.size[at] = count;
  if (count > 1) result.view_.stride[at] = view_.stride[at] * step;
  return result;
}

Result<Tensor> Tensor::reshape(const Shape& new_shape) const {
  METALLIC_TRY(bytes_of(new_shape, format()));
  if (new_shape.elements() != shape().elements())
    return fail(ErrorCode::kInvalidArgument, "reshape: {} has {} elements, {} has {}", shape().text(),
                shape().elements(), new_shape.text(), new_shape.elements());
  Tensor result = *this;
  result.view_.shape = new_shape;
  if (format_info(format()).block_elements > 1 || new_shape.elements() == 0) {
    if (!view_.is_contiguous())
      return fail(ErrorCode::kInvalidArgument,
                  "reshape: this {} view is not contiguous; convert it with to(Format::kF32) first",
                  format_info(format()).name);
    result.view_ = TensorView::dense(view_.data, format(), new_shape);
    return result;
  }
  if (strides_for(view_, new_shape, result.view_.stride)) return result;
  METALLIC_ASSIGN(result, contiguous());
  result.view_ = TensorView::dense(result.view_.data, format(), new_shape);
  return result;
}

Result<Tensor> Tensor::contiguous() const {
  if (view_.is_contiguous()) return *this;
  return to(format());
}

Result<Tensor> Tensor::to(Format new_format) const {
  if (new_format == format() && view_.is_contiguous()) return *this;
  if (!is_float(new_format) || (!is_float(format()) && new_format != Format::kF32))
    return fail(ErrorCode::kUnsupported, "cannot copy a {} tensor as {}", format_info(format()).name,
                format_info(new_format).name);
  METALLIC_ASSIGN(Tensor result, TensorAccess::allocate(device_, shape(), new_format));
  TensorAccess::backend(*device_).copy(view_, result.view_);
  return result;
}

Result<std::vector<float>> Tensor::to_floats() const {
  METALLIC_ASSIGN(const Tensor dense, to(Format::kF32));
  std::vector<float> values(size_t(shape().elements()));
  Backend& backend = TensorAccess::backend(*device_);
  backend.copy_to_host(values.data(), dense.view_.data, values.size() * sizeof(float));
  METALLIC_TRY(backend.synchronize());
  return values;
}

}  // namespace metallic
