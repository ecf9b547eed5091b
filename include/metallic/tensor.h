// Tensors: strided views of memory that a backend holds, and the operations of neural networks on them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "metallic/format.h"
#include "metallic/result.h"

namespace metallic {

inline constexpr int kMaxRank = 4;

// Sizes of the dimensions, outermost first (as in numpy): the last one varies fastest in memory. Rank 1 to 4.
struct Shape {
  int rank = 1;
  std::array<int64_t, kMaxRank> size = {0, 1, 1, 1};

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const int64_t> sizes);  // more than kMaxRank sizes are a defect of the caller

  int64_t operator[](int dimension) const { return size[size_t(dimension)]; }
  int64_t elements() const;
  bool operator==(const Shape& other) const;
  std::string text() const;  // "(3, 4)"
};

// A plain description of strided memory: what an operation of a backend gets. Owns nothing.
struct TensorView {
  void* data = nullptr;
  Format format = Format::kF32;
  Shape shape;
  // Bytes from one index to the next. Formats with blocks keep the last dimension contiguous; its stride is that of a
  // block.
  std::array<int64_t, kMaxRank> stride = {0, 0, 0, 0};

  // A dense row-major view.
  static TensorView dense(void* data, Format format, const Shape& shape);
  bool is_contiguous() const;
};

// Where tensors live and operations run. Thread-safe to share; operations on one device must come from one thread at a
// time.
class Device {
 public:
  // "reference" (scalar float32), "cpu" (all processors). `threads` 0: one for each processor.
  static Result<std::shared_ptr<Device>> open(const std::string& name, int threads = 0);
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;
};

enum class Activation { kIdentity, kRelu, kSilu, kGelu, kGeluTanh, kGeluQuick, kTanh, kSigmoid };
enum class NormKind { kRms, kLayer };
// Which pairs of a head are rotated together: (0,1), (2,3), ... or (0, d/2), (1, d/2 + 1), ...
enum class RopeStyle { kInterleaved, kHalves };

// A view with shared ownership: copying a Tensor copies the view, never the data, and the memory lives as long as any
// view of it.
class Tensor {
 public:
  Tensor() = default;  // no tensor: only assignment and device() may be used

  static Result<Tensor> zeros(const std::shared_ptr<Device>& device, const Shape& shape, Format format = Format::kF32);
  // `values` has shape.elements() floats.
  static Result<Tensor> from_floats(const std::shared_ptr<Device>& device, const Shape& shape,
                                    std::span<const float> values);
  // `bytes` is the dense content in `format`, copied to the device.
  static Result<Tensor> from_bytes(const std::shared_ptr<Device>& device, const Shape& shape, Format format,
                                   std::span<const std::byte> bytes);
  // Independent uniform floats in [lo, hi), filled by the device that holds them; element i depends on (seed, i) alone,
  // so that every device gives the same numbers.
  static Result<Tensor> random_uniform(const std::shared_ptr<Device>& device, const Shape& shape, float lo, float hi,
                                       uint64_t seed);

  const std::shared_ptr<Device>& device() const { return device_; }
  const TensorView& view() const { return view_; }
  const Shape& shape() const { return view_.shape; }
  Format format() const { return view_.format; }

  // Views, no copy. kInvalidArgument says what does not fit.
  Result<Tensor> permute(std::span<const int> order) const;  // dimension i of the result is dimension order[i] of this
  Result<Tensor> slice(int dimension, int64_t begin, int64_t end, int64_t step = 1) const;  // [begin, end), step >= 1
  // Same elements in row-major order under another shape: a view where strides allow, else a contiguous copy.
  Result<Tensor> reshape(const Shape& shape) const;
  // This tensor if it is contiguous and already `format`, else a dense copy (quantised formats only convert to float
  // ones).
  Result<Tensor> contiguous() const;
  Result<Tensor> to(Format format) const;

  // All elements as float32, row-major, on the host.
  Result<std::vector<float>> to_floats() const;

 private:
  friend struct TensorAccess;
  std::shared_ptr<Device> device_;
  std::shared_ptr<void> owner_;
  TensorView view_;
};

// Operations. Inputs are on one device; float formats, and where said, quantised ones. Results are new dense float32
// tensors on that device. Shapes that don't fit are kInvalidArgument. Broadcasting is numpy's.
Result<Tensor> matmul(const Tensor& a, const Tensor& b);  // (.., n, k) x (.., k, m) -> (.., n, m)
Result<Tensor> linear(const Tensor& x, const Tensor& weight,
                      const Tensor* bias = nullptr);  // (.., k), (m, k) any format -> (.., m)
Result<Tensor> add(const Tensor& a, const Tensor& b);
Result<Tensor> mul(const Tensor& a, const Tensor& b);
Result<Tensor> softmax(const Tensor& x);  // over the last dimension
Result<Tensor> activate(const Tensor& x, Activation activation);
inline Result<Tensor> silu(const Tensor& x) { return activate(x, Activation::kSilu); }
inline Result<Tensor> gelu(const Tensor& x) { return activate(x, Activation::kGelu); }  // x * Phi(x), exact
Result<Tensor> rms_norm(const Tensor& x, const Tensor& weight, float epsilon);  // weight (k) over the last dimension
Result<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor* bias, float epsilon);
// x (rows, heads, d), row r at positions[r]; base^(-2i/d) radians per position (RoFormer, arXiv:2104.09864).
Result<Tensor> rope(const Tensor& x, std::span<const int32_t> positions, float base, RopeStyle style);
// query (n, heads, d), key (t, kv_heads, d), value (t, kv_heads, dv) -> (n, heads, dv); heads a multiple of kv_heads.
// Query i stands at position t - n + i. `causal` hides later keys, and `window` > 0 those that many positions back or
// more; without `causal` a window shows window / 2 positions either side.
Result<Tensor> attention(const Tensor& query, const Tensor& key, const Tensor& value, float scale, bool causal,
                         int window = 0);

}  // namespace metallic
