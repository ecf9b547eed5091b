// One step of a decoder-only transformer (arXiv:1706.03762, with pre-norm, gated feed-forward, rope and grouped-query
// attention).
#include "model/forward.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

constexpr int kLogitRows = 16;  // rows that go through the head at a time

TensorView matrix(float* data, int64_t rows, int64_t width) {
  return TensorView::dense(data, Format::kF32, {rows, width});
}
TensorView heads(float* data, int64_t rows, int64_t count, int64_t width) {
  return TensorView::dense(data, Format::kF32, {rows, count, width});
}

// base^(-2i/d), times the position scale, over the factors of the file (Llama 3's long context) if it has any.
std::vector<float> frequencies(int dims, float base, float scale, const std::vector<float>& factors) {
  std::vector<float> result(size_t(dims / 2));
  for (size_t i = 0; i < result.size(); ++i) {
    const double frequency = std::pow(double(base), -2.0 * double(i) / dims) * double(scale);
    result[i] = float(factors.empty() ? frequency : frequency / double(factors[i]));
  }
  return result;
}

}  // namespace

Result<Decoder> Decoder::create(const Config& config, const Weights& weights, Backend& backend, int max_rows) {
  METALLIC_CHECK(max_rows > 0);
  Decoder decoder(config, weights, backend);
  decoder.max_rows_ = max_rows;
  struct Part {
    float** at;
    int64_t floats;
  };
  const int64_t rows = max_rows;
  const Part parts[] = {
      {&decoder.residual_, rows * config.width},
      {&decoder.normed_, rows * config.width},
      {&decoder.query_, rows * config.query_width()},
      {&decoder.key_, rows * config.key_width()},
      {&decoder.value_, rows * config.value_width()},
      {&decoder.attended_, rows * config.heads * config.value_dim},
      {&decoder.gate_, rows * config.ff_width},
      {&decoder.up_, rows * config.ff_width},
      {&decoder.logits_, int64_t(std::min(max_rows, kLogitRows)) * config.vocab},
  };
  constexpr int64_t kAlignment = 64;  // floats: whole cache lines
  const auto padded = [](int64_t floats) { return (floats + kAlignment - 1) / kAlignment * kAlignment; };
  int64_t total = 0;
  for (const Part& part : parts) total += padded(part.floats);
  decoder.bytes_ = uint64_t(total) * sizeof(float);
  auto memory = backend.allocate(decoder.bytes_);
  if (!memory) return fail_while("activations (a smaller batch needs less)", memory.error());
  decoder.memory_ = std::move(*memory);
  float* at = static_cast<float*>(decoder.memory_.get());
  for (const Part& part : parts) {
    *part.at = at;
    at += padded(part.floats);
  }
  decoder.rope_frequencies_ =
      frequencies(config.rope_dims, config.rope_base, config.rope_position_scale, weights.rope_factors);
  decoder.local_rope_frequencies_ = config.local_rope_base == config.rope_base && config.spec->local_rope_base == 0
                                        ? decoder.rope_frequencies_
                                        : frequencies(config.rope_dims, config.local_rope_base, 1.0f, {});
  return decoder;
}

Status Decoder::run(const Batch& batch, const KvCache& cache, std::vector<float>& logits) {
  METALLIC_CHECK(batch.rows() > 0 && batch.rows() <= max_rows_);
  METALLIC_CHECK(batch.positions.size() == batch.tokens.size());
  backend_.embed(
      {&weights_.embedding, batch.tokens, config_.embedding_scale, matrix(residual_, batch.rows(), config_.width)});
  for (int layer = 0; layer < config_.layers; ++layer) {
    attention_block(layer, batch, cache);
    ffn_block(layer, batch.rows());
  }
  return head(batch, logits);
}

// residual += W_o attention(rope(norm(q)), rope(norm(k)), v), where q, k, v are projections of norm(residual).
void Decoder::attention_block(int index, const Batch& batch, const KvCache& cache) {
  const LayerWeights& layer = weights_.layers[size_t(index)];
  const bool local = config_.local[size_t(index)];
  const int rows = batch.rows();
  const TensorView residual = heads(residual_, rows, 1, config_.width);
  backend_.norm({NormKind::kRms, config_.norm_epsilon, residual, layer.attention_norm.data(), nullptr,
                 heads(normed_, rows, 1, config_.width)});

  const LinearTarget projections[] = {
      {&layer.query, layer.query_bias.data(), matrix(query_, rows, config_.query_width()), false},
      {&layer.key, layer.key_bias.data(), matrix(key_, rows, config_.key_width()), false},
      {&layer.value, layer.value_bias.data(), matrix(value_, rows, config_.value_width()), false},
  };
  backend_.linear({matrix(normed_, rows, config_.width), projections});

  const TensorView query = heads(query_, rows, config_.heads, config_.head_dim);
  const TensorView key = heads(key_, rows, config_.kv_heads, config_.head_dim);
  if (layer.query_norm.data())
    backend_.norm({NormKind::kRms, config_.norm_epsilon, query, layer.query_norm.data(), nullptr, query});
  if (layer.key_norm.data())
    backend_.norm({NormKind::kRms, config_.norm_epsilon, key, layer.key_norm.data(), nullptr, key});
  const std::vector<float>& rope_frequencies = local ? local_rope_frequencies_ : rope_frequencies_;
  for (const TensorView& x : {query, key})
    backend_.rope({x, batch.positions.data(), rope_frequencies, 1.0f, config_.spec->rope_style});

  const TensorView value = heads(value_, rows, config_.kv_heads, config_.value_dim);
  backend_.store_kv({key, value, cache.keys(index), cache.values(index), batch.sequences});
  backend_.attention({query, cache.keys(index), cache.values(index),
                      heads(attended_, rows, config_.heads, config_.value_dim), batch.sequences,
                      config_.attention_scale, local ? config_.window : 0, true});
  add_projection(matrix(attended_, rows, int64_t(config_.heads) * config_.value_dim), layer.attention_output,
                 layer.attention_output_bias, layer.attention_post_norm, rows);
}

// residual += W_down (activation(W_gate x) * (W_up x)), x = norm(residual).
void Decoder::ffn_block(int index, int rows) {
  const LayerWeights& layer = weights_.layers[size_t(index)];
  backend_.norm({NormKind::kRms, config_.norm_epsilon, heads(residual_, rows, 1, config_.width), layer.ffn_norm.data(),
                 nullptr, heads(normed_, rows, 1, config_.width)});
  const TensorView gate = matrix(gate_, rows, config_.ff_width);
  const TensorView up = matrix(up_, rows, config_.ff_width);
  const LinearTarget projections[] = {
      {&layer.gate, layer.gate_bias.data(), gate, false},
      {&layer.up, layer.up_bias.data(), up, false},
  };
  backend_.linear({matrix(normed_, rows, config_.width), projections});
  backend_.activate({config_.spec->activation, gate, up, gate});
  add_projection(gate, layer.down, layer.down_bias, layer.ffn_post_norm, rows);
}

// residual += post_norm(weight * input + bias); without a post norm the product is added in place.
void Decoder::add_projection(const TensorView& input, const Weight& weight, const DeviceVector& bias,
                             const DeviceVector& post_norm, int rows) {
  const TensorView residual = matrix(residual_, rows, config_.width);
  const bool in_place = post_norm.data() == nullptr;
  const TensorView out = in_place ? residual : matrix(normed_, rows, config_.width);
  const LinearTarget target{&weight, bias.data(), out, in_place};
  backend_.linear({input, {&target, 1}});
  if (in_place) return;
  const TensorView view = heads(normed_, rows, 1, config_.width);
  backend_.norm({NormKind::kRms, config_.norm_epsilon, view, post_norm.data(), nullptr, view});
  backend_.binary({BinaryKind::kAdd, residual, out, residual});
}

// logits = W_head norm(residual), for the rows that are wanted only.
Status Decoder::head(const Batch& batch, std::vector<float>& logits) {
  const size_t vocab = size_t(config_.vocab);
  logits.resize(batch.logit_rows.size() * vocab);
  for (size_t first = 0; first < batch.logit_rows.size(); first += size_t(kLogitRows)) {
    const int count = int(std::min<size_t>(size_t(kLogitRows), batch.logit_rows.size() - first));
    for (int i = 0; i < count; ++i) {
      const int64_t row = batch.logit_rows[first + size_t(i)];
      backend_.norm({NormKind::kRms, config_.norm_epsilon, heads(residual_ + row * config_.width, 1, 1, config_.width),
                     weights_.output_norm.data(), nullptr,
                     heads(normed_ + int64_t(i) * config_.width, 1, 1, config_.width)});
    }
    const LinearTarget target{&weights_.head, weights_.head_bias.data(), matrix(logits_, count, config_.vocab), false};
    backend_.linear({matrix(normed_, count, config_.width), {&target, 1}});
    backend_.copy_to_host(logits.data() + first * vocab, logits_, size_t(count) * vocab * sizeof(float));
  }
  return backend_.synchronize();
}

}  // namespace metallic
