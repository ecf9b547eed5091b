// Models of any shape with random weights, for tests and benchmarks that need no file.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "base/error.h"
#include "model/config.h"
#include "model/weights.h"
#include "quant/quantize.h"

namespace metallic::testing {

struct ModelShape {
  const char* name;
  const char* architecture;
  int layers, width, ff_width, heads, kv_heads, head_dim, vocab;
  bool qkv_bias;
};
inline Config config_of(const ModelShape& shape) {
  Config config;
  config.spec = find_arch_spec(shape.architecture).value();
  config.layers = shape.layers;
  config.width = shape.width;
  config.ff_width = shape.ff_width;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = config.value_dim = shape.head_dim;
  config.vocab = shape.vocab;
  config.context_length = 8192;
  config.norm_epsilon = 1e-6f;
  config.attention_scale = 1 / std::sqrt(float(shape.head_dim));
  config.local.assign(size_t(shape.layers), false);
  config.rope.dims = shape.head_dim;
  config.rope.base = 1e6f;
  return config;
}

// Random weights of one format; all matrices come from the same bytes on the host, each from another place.
class RandomWeights {
 public:
  RandomWeights(Backend& backend, Format format, uint64_t most_elements) : backend_(backend), format_(format) {
    constexpr int64_t kSample = 1 << 16;
    std::vector<float> values(kSample);
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.02f);
    for (float& value : values) value = normal(random);
    std::vector<char> sample(*format_bytes(format, kSample));
    quantize_rows(format, values.data(), 1, kSample, nullptr, sample.data());
    bytes_ = std::make_shared<std::vector<char>>(
        *format_bytes(format, (most_elements + kShift - 1) / kShift * kShift + kPlaces * kShift));
    for (size_t at = 0; at < bytes_->size(); at += sample.size())
      std::memcpy(bytes_->data() + at, sample.data(), std::min(sample.size(), bytes_->size() - at));
  }

  Result<Weight> matrix(int64_t rows, int64_t columns) {
    total_ += *format_bytes(format_, uint64_t(rows * columns));
    char* from = bytes_->data() + *format_bytes(format_, uint64_t(matrices_++ % kPlaces) * kShift);
    return backend_.load_weight(TensorView::dense(from, format_, {rows, columns}), bytes_);
  }
  Result<DeviceVector> vector(int64_t size) {
    std::vector<float> values(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) values[size_t(i)] = 1 + 0.5f * std::sin(float(i + vectors_));
    ++vectors_;
    METALLIC_ASSIGN(std::shared_ptr<void> memory, backend_.allocate(uint64_t(size) * sizeof(float)));
    backend_.copy_from_host(memory.get(), values.data(), values.size() * sizeof(float));
    METALLIC_TRY(backend_.synchronize());
    return DeviceVector{std::move(memory), size};
  }
  uint64_t total() const { return total_; }

 private:
  static constexpr int kPlaces = 16;
  static constexpr uint64_t kShift = 256;  // elements
  Backend& backend_;
  Format format_;
  int matrices_ = 0;
  int64_t vectors_ = 0;
  std::shared_ptr<std::vector<char>> bytes_;
  uint64_t total_ = 0;
};

// `mixed`: what values and the last matrix of the feed-forward part come from, as in files of mixed formats; or null.
inline Result<Weights> random_weights(const ModelShape& shape, RandomWeights& random, RandomWeights* mixed = nullptr) {
  Weights weights;
  const int64_t query = int64_t(shape.heads) * shape.head_dim, key = int64_t(shape.kv_heads) * shape.head_dim;
  RandomWeights& other = mixed != nullptr ? *mixed : random;
  const auto projection = [](RandomWeights& from, int64_t rows, int64_t columns, bool bias) -> Result<Projection> {
    Projection result;
    METALLIC_ASSIGN(result.weight, from.matrix(rows, columns));
    if (bias) {
      METALLIC_ASSIGN(result.bias, from.vector(rows));
    }
    return result;
  };
  METALLIC_ASSIGN(weights.embedding, random.matrix(shape.vocab, shape.width));
  weights.head.weight = weights.embedding;
  for (int i = 0; i < shape.layers; ++i) {
    LayerWeights& layer = weights.layers.emplace_back();
    METALLIC_ASSIGN(layer.attention_norm.weight, random.vector(shape.width));
    METALLIC_ASSIGN(layer.ffn_norm.weight, random.vector(shape.width));
    METALLIC_ASSIGN(layer.query, projection(random, query, shape.width, shape.qkv_bias));
    METALLIC_ASSIGN(layer.key, projection(random, key, shape.width, shape.qkv_bias));
    METALLIC_ASSIGN(layer.value, projection(other, key, shape.width, shape.qkv_bias));
    METALLIC_ASSIGN(layer.attention_output, projection(random, shape.width, query, false));
    METALLIC_ASSIGN(layer.ffn.gate, projection(random, shape.ff_width, shape.width, false));
    METALLIC_ASSIGN(layer.ffn.up, projection(random, shape.ff_width, shape.width, false));
    METALLIC_ASSIGN(layer.ffn.down, projection(other, shape.width, shape.ff_width, false));
  }
  METALLIC_ASSIGN(weights.output_norm.weight, random.vector(shape.width));
  return weights;
}

}  // namespace metallic::testing
