// The operations of the reference backend. Read them as the definition of what every other backend must compute.
#include "backend/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/activation.h"
#include "backend/alibi.h"
#include "backend/copy.h"
#include "backend/host_backend.h"
#include "backend/kv_rows.h"
#include "backend/random.h"
#include "backend/strided.h"
#include "base/check.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

// A sum of eight interleaved partial sums in double: far more exact than any float order, and still vectorisable.
double dot(const float* a, const float* b, int64_t count) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane) sums[lane] += double(a[i + lane]) * double(b[i + lane]);
  for (; i < count; ++i) sums[0] += double(a[i]) * double(b[i]);
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

const char* row_of(const Weight& weight, int64_t row) {
  return static_cast<const char*>(weight.view.data) + row * weight.view.stride[0];
}

class ReferenceBackend final : public HostBackend {
 public:
  explicit ReferenceBackend(int threads) : HostBackend("reference", threads) {}

  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) override {
    return Weight{host, std::move(owner), nullptr};
  }

  void embed(const EmbedOp& op) override {
    const DequantizeRow dequantize = dequantize_function(op.weight->view.format);
    for (size_t i = 0; i < op.ids.size(); ++i) {
      float* out = float_at(op.out, int64_t(i));
      dequantize(row_of(*op.weight, op.ids[i]), op.weight->columns(), out);
      for (int64_t k = 0; k < op.weight->columns(); ++k) out[k] *= op.scale;
    }
  }

  void norm(const NormOp& op) override {
    const int64_t width = op.x.shape[2];
    for (int64_t row = 0; row < op.x.shape[0]; ++row)
      for (int64_t head = 0; head < op.x.shape[1]; ++head) {
        const float* x = float_at(op.x, row, head);
        float* out = float_at(op.out, row, head);
        double mean = 0, squares = 0;
        if (op.kind == NormKind::kLayer) {
          for (int64_t i = 0; i < width; ++i) mean += double(x[i]);
          mean /= double(width);
        }
        for (int64_t i = 0; i < width; ++i) squares += (double(x[i]) - mean) * (double(x[i]) - mean);
        const double factor = 1.0 / std::sqrt(squares / double(width) + double(op.epsilon));
        for (int64_t i = 0; i < width; ++i) {
          const double weight = op.weight ? double(op.weight[head * op.weight_stride + i]) : 1.0;
          const double bias = op.bias ? double(op.bias[head * op.weight_stride + i]) : 0.0;
          out[i] = float((double(x[i]) - mean) * factor * weight + bias);
        }
      }
  }

  void linear(const LinearOp& op) override {
    for (const LinearTarget& target : op.targets) {
      const DequantizeRow dequantize = dequantize_function(target.weight->view.format);
      const int64_t columns = target.weight->columns();
      pool_.parallel_for(target.weight->rows(), 1, [&](int64_t begin, int64_t end) {
        std::vector<float> weights(static_cast<size_t>(columns));
        for (int64_t m = begin; m < end; ++m) {
          dequantize(row_of(*target.weight, m), columns, weights.data());
          for (int64_t n = 0; n < op.x.shape[0]; ++n) {
            const double product =
                dot(weights.data(), float_at(op.x, n), columns) + (target.bias ? double(target.bias[m]) : 0);
            float* out = float_at(target.out, n) + m;
            *out = float(target.accumulate ? double(*out) + product : product);
          }
        }
      });
    }
  }

  void rope(const RopeOp& op) override {
    const int64_t pairs = int64_t(op.frequencies.size());
    for (int64_t row = 0; row < op.x.shape[0]; ++row)
      for (int64_t i = 0; i < pairs; ++i) {
        // The angle is rounded to float, as the models were trained; its sine and cosine are not.
        const double angle = double(float(op.positions[row]) * op.frequencies[size_t(i)]);
        const double c = std::cos(angle) * double(op.magnitude), s = std::sin(angle) * double(op.magnitude);
        const int64_t first = op.style == RopeStyle::kInterleaved ? 2 * i : i;
        const int64_t second = op.style == RopeStyle::kInterleaved ? 2 * i + 1 : i + pairs;
        for (int64_t head = 0; head < op.x.shape[1]; ++head) {
          float* x = float_at(op.x, row, head);
          const double a = double(x[first]), b = double(x[second]);
          x[first] = float(a * c - b * s);
          x[second] = float(a * s + b * c);
        }
      }
  }

  void store_kv(const StoreKvOp& op) override {
    store_rows(op.key, op.keys, op.sequences);
    store_rows(op.value, op.values, op.sequences);
  }

  void attention(const AttentionOp& op) override {
    for (const BatchSequence& sequence : op.sequences)
      pool_.parallel_for(sequence.rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          for (int64_t head = 0; head < op.query.shape[1]; ++head) attend(op, sequence, i, head);
      });
  }

  void activate(const ActivateOp& op) override {
    for (int64_t row = 0; row < op.x.shape[0]; ++row) {
      const float* x = float_at(op.x, row);
      const float* factor = op.factor.data ? float_at(op.factor, row) : nullptr;
      float* out = float_at(op.out, row);
      for (int64_t i = 0; i < op.x.shape[1]; ++i) {
        out[i] = factor ? gated_value(op.activation, x[i], factor[i], op.clamp) : activation_value(op.activation, x[i]);
      }
    }
  }

  void binary(const BinaryOp& op) override {
    const TensorView a = rank4(op.a), b = rank4(op.b), out = rank4(op.out);
    for_each_row(out.shape, [&](int64_t i, int64_t j, int64_t k) {
      for (int64_t l = 0; l < out.shape[3]; ++l) {
        const float x = *float_at(a, i, j, k, l), y = *float_at(b, i, j, k, l);
        *float_at(out, i, j, k, l) = op.kind == BinaryKind::kAdd ? x + y : x * y;
      }
    });
  }

  void softmax(const TensorView& x_view, const TensorView& out_view) override {
    const TensorView x = rank4(x_view), out = rank4(out_view);
    const int64_t width = x.shape[3];
    for_each_row(x.shape, [&](int64_t i, int64_t j, int64_t k) {
      float highest = -INFINITY;
      for (int64_t l = 0; l < width; ++l) highest = std::max(highest, *float_at(x, i, j, k, l));
      double sum = 0;
      for (int64_t l = 0; l < width; ++l) sum += std::exp(double(*float_at(x, i, j, k, l)) - double(highest));
      for (int64_t l = 0; l < width; ++l)
        *float_at(out, i, j, k, l) = float(std::exp(double(*float_at(x, i, j, k, l)) - double(highest)) / sum);
    });
  }

  void matmul(const TensorView& a_view, const TensorView& b_view, const TensorView& out_view) override {
    const TensorView a = rank4(a_view), b = rank4(b_view), out = rank4(out_view);
    for_each_row(out.shape, [&](int64_t i, int64_t j, int64_t n) {
      for (int64_t m = 0; m < out.shape[3]; ++m) {
        double sum = 0;
        for (int64_t k = 0; k < a.shape[3]; ++k)
          sum += double(*float_at(a, i, j, n, k)) * double(*float_at(b, i, j, k, m));
        *float_at(out, i, j, n, m) = float(sum);
      }
    });
  }

  void copy(const TensorView& from, const TensorView& to) override { copy_view(from, to); }

  void random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) override {
    float* values = float_at(out, 0);
    const float below_hi = std::nextafterf(hi, lo);
    for (int64_t i = 0; i < out.shape.elements(); ++i)
      values[i] = random_float(random_bits(random_keys(seed, uint64_t(i)), uint32_t(i)), lo, hi - lo, below_hi);
  }

 private:
  static void store_rows(const TensorView& rows, const TensorView& pages, std::span<const BatchSequence> sequences) {
    const int64_t page_tokens = pages.shape[2];
    for (const BatchSequence& sequence : sequences)
      for (int64_t i = 0; i < sequence.rows; ++i)
        for (int64_t head = 0; head < rows.shape[1]; ++head) {
          const int64_t position = sequence.position + i;
          const int64_t page = sequence.pages[position / page_tokens];
          const float* from = float_at(rows, sequence.first_row + i, head);
          char* to = reinterpret_cast<char*>(float_at(pages, page, head, position % page_tokens));
          store_kv_row(pages.format, from, rows.shape[2], to);
        }
  }

  // The row of `pages` at `position` of the sequence, as floats in `out`.
  static void load_row(const TensorView& pages, const BatchSequence& sequence, int64_t head, int64_t position,
                       float* out) {
    const int64_t page_tokens = pages.shape[2];
    const char* from = reinterpret_cast<const char*>(
        float_at(pages, sequence.pages[position / page_tokens], head, position % page_tokens));
    dequantize_function(pages.format)(from, pages.shape[3], out);
  }

  static void attend(const AttentionOp& op, const BatchSequence& sequence, int64_t i, int64_t head) {
    const int64_t kv_head = head / (op.query.shape[1] / op.keys.shape[1]);
    const int64_t position = sequence.position + i;
    const int64_t known = int64_t(sequence.position) + sequence.rows;
    const int64_t side = op.window / 2;  // of a window that looks both ways
    const int64_t first = op.causal ? position - op.window + 1 : position - side;
    const int64_t begin = op.window > 0 ? std::max<int64_t>(0, first) : 0;
    const int64_t end = op.causal ? position + 1 : op.window > 0 ? std::min(known, position + side + 1) : known;
    const float* query = float_at(op.query, sequence.first_row + i, head);
    const double slope = op.alibi > 0 ? double(alibi_slope(op.alibi, op.query.shape[1], head)) : 0;

    std::vector<float> row(size_t(std::max(op.keys.shape[3], op.values.shape[3])));
    std::vector<double> weights(size_t(end - begin));
    double highest = -INFINITY, sum = 0;
    for (int64_t t = begin; t < end; ++t) {
      load_row(op.keys, sequence, kv_head, t, row.data());
      weights[size_t(t - begin)] = dot(query, row.data(), op.keys.shape[3]) * double(op.scale);
      if (op.softcap > 0)
        weights[size_t(t - begin)] = double(op.softcap) * std::tanh(weights[size_t(t - begin)] / double(op.softcap));
      weights[size_t(t - begin)] -= slope * double(std::abs(position - t));
      highest = std::max(highest, weights[size_t(t - begin)]);
    }
    if (op.sinks != nullptr) {
      highest = std::max(highest, double(op.sinks[head]));
      sum = std::exp(double(op.sinks[head]) - highest);
    }
    std::vector<double> result(size_t(op.values.shape[3]), 0.0);
    for (int64_t t = begin; t < end; ++t) {
      const double weight = std::exp(weights[size_t(t - begin)] - highest);
      sum += weight;
      load_row(op.values, sequence, kv_head, t, row.data());
      for (size_t d = 0; d < result.size(); ++d) result[d] += weight * double(row[d]);
    }
    float* out = float_at(op.out, sequence.first_row + i, head);
    for (size_t d = 0; d < result.size(); ++d) out[d] = float(result[d] / sum);
  }
};

}  // namespace

std::shared_ptr<Backend> make_reference_backend(int threads) { return std::make_shared<ReferenceBackend>(threads); }

}  // namespace metallic
