// One step of a transformer (arXiv:1706.03762): embeddings, then blocks of attention and feed-forward that each add to
// a residual, then the head. Which norms stand where, and what is fused, gated or mixed, the weights say by being
// there.
#include "model/forward.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

// What divides the rope frequencies for sequences of up to `context` positions.
const std::vector<float>& rope_factors(const Config& config, const Weights& weights, int context) {
  const bool longer = context > config.rope.original_context;
  const std::vector<float>& by_length = longer ? weights.rope_factors_long : weights.rope_factors_short;
  return by_length.empty() ? weights.rope_factors : by_length;
}

}  // namespace

Result<Decoder> Decoder::create(const Config& config, const Weights& weights, Backend& backend, int max_rows,
                                int context) {
  if (weights.positions.rows() > 0 && context > weights.positions.rows())
    return fail(ErrorCode::kOutOfRange,
                "a context of {} is not possible: this model has learned {} positions and no more", context,
                weights.positions.rows());
  Decoder decoder(config, weights, backend);
  METALLIC_ASSIGN(decoder.activations_, Activations::create(config, backend, max_rows));
  const std::vector<float>& factors = rope_factors(config, weights, context);
  decoder.rope_ = rope_angles(config.rope, factors, false, context);
  decoder.local_rope_ = rope_angles(config.rope, factors, true, context);
  return decoder;
}

Status Decoder::run(const Batch& batch, const KvCache& cache, std::vector<float>& result) {
  evaluate(batch, cache);
  return output(batch, result);
}

void Decoder::evaluate(const Batch& batch, const KvCache& cache) {
  METALLIC_CHECK(batch.rows() > 0 && batch.rows() <= max_rows());
  METALLIC_CHECK(batch.positions.size() == batch.tokens.size());
  embed(batch);
  for (int layer = 0; layer < config_.layers; ++layer) attention_block(layer, batch, cache);
}

void Decoder::embed(const Batch& batch) {
  Activations& a = activations_;
  const int rows = batch.rows();
  const TensorView residual = row_view(a.residual, rows, config_.width);
  backend_.embed({&weights_.embedding, batch.tokens, config_.embedding_scale, residual});
  if (weights_.positions.rows() > 0) {
    const TensorView added = row_view(a.added, rows, config_.width);
    backend_.embed({&weights_.positions, batch.positions, 1.0f, added});
    backend_.binary({BinaryKind::kAdd, residual, added, residual});
  }
  if (weights_.token_types.rows() > 0) {  // all tokens are of the first type
    TensorView type = row_view(a.added, 1, config_.width);
    const int32_t first = 0;
    backend_.embed({&weights_.token_types, {&first, 1}, 1.0f, type});
    type.shape = residual.shape;
    type.stride[0] = 0;
    backend_.binary({BinaryKind::kAdd, residual, type, residual});
  }
  if (weights_.embedding_norm) normalise(a.residual, weights_.embedding_norm, rows, config_.width, a.residual);
}

// residual += W_o attention(rope(q), rope(k), v), where q, k and v are projections of norm(residual); then the
// feed-forward part.
void Decoder::attention_block(int index, const Batch& batch, const KvCache& cache) {
  const LayerWeights& layer = weights_.layers[size_t(index)];
  Activations& a = activations_;
  const int rows = batch.rows();
  const bool local = config_.local[size_t(index)];

  normalise(a.residual, layer.attention_norm, rows, config_.width, a.normed);
  // In parallel, both parts read the residual of before, through one norm or through two.
  if (config_.parallel_residual)
    normalise(layer.ffn_norm ? a.residual : a.normed, layer.ffn_norm, rows, config_.width, a.ffn_input);

  if (layer.latent) {
    latent_query_key_value(layer.latent, index, batch);
  } else {
    project_query_key_value(layer, index, batch);
  }
  const TensorView query = head_view(a.query, rows, config_.heads, config_.head_dim);
  backend_.store_kv({head_view(a.key, rows, config_.kv_heads, config_.head_dim),
                     head_view(a.value, rows, config_.kv_heads, config_.value_dim), cache.keys(index),
                     cache.values(index), batch.sequences});
  AttentionOp attention{query,
                        cache.keys(index),
                        cache.values(index),
                        head_view(a.attended, rows, config_.heads, config_.value_dim),
                        batch.sequences,
                        config_.attention_scale,
                        local ? config_.window : 0,
                        config_.causal};
  attention.softcap = config_.attention_softcap;
  attention.sinks = layer.sinks.data();
  attention.alibi = config_.alibi;
  backend_.attention(attention);
  int64_t attended_width = int64_t(config_.heads) * config_.value_dim;
  float* attended = a.attended;
  if (!layer.latent.value_up.empty()) {
    latent_values(layer.latent, rows);
    attended = a.whole_values;
    attended_width = int64_t(config_.heads) * config_.latent.value_dim;
  }
  const bool at_once = adds_at_once(layer.attention_post_norm);
  const LinearTarget attention_output{&layer.attention_output.weight, layer.attention_output.bias.data(),
                                      row_view(at_once ? a.residual : a.added, rows, config_.width), at_once,
                                      Precision::kDoubleCodes};
  backend_.linear({row_view(attended, rows, attended_width), {&attention_output, 1}});
  if (!at_once) add_to_residual(a.added, layer.attention_post_norm, rows);
  normalise_residual(layer.attention_residual_norm, rows);
  // Without a norm before attention, `normed` is still the block's input.
  if (layer.attention_second_norm) {
    add_to_residual(a.normed, {}, rows);
    normalise_residual(layer.attention_second_norm, rows);
  }

  if (!config_.parallel_residual) normalise(a.residual, layer.ffn_norm, rows, config_.width, a.ffn_input);
  ffn_block(layer, rows);
}

void Decoder::project_query_key_value(const LayerWeights& layer, int index, const Batch& batch) {
  Activations& a = activations_;
  const int rows = batch.rows();
  const LinearTarget projections[] = {
      {&layer.query.weight, layer.query.bias.data(), row_view(a.query, rows, config_.query_width()), false,
       Precision::kDoubleCodes},
      {&layer.key.weight, layer.key.bias.data(), row_view(a.key, rows, config_.key_width()), false,
       Precision::kDoubleCodes},
      {&layer.value.weight, layer.value.bias.data(), row_view(a.value, rows, config_.value_width()), false,
       Precision::kDoubleCodes},
  };
  backend_.linear({row_view(a.normed, rows, config_.width), projections});
  if (layer.query_norm) normalise_heads(a.query, layer.query_norm, rows);
  if (layer.key_norm) normalise_heads(a.key, layer.key_norm, rows);
  rotate(head_view(a.query, rows, config_.heads, config_.head_dim), index, batch);
  rotate(head_view(a.key, rows, config_.kv_heads, config_.head_dim), index, batch);
}

void Decoder::rotate(const TensorView& x, int index, const Batch& batch) {
  if (!config_.has_rope(index)) return;
  const RopeAngles& angles = config_.local[size_t(index)] ? local_rope_ : rope_;
  backend_.rope({x, batch.positions.data(), angles.frequencies, angles.magnitude, config_.spec->rope_style});
}

void Decoder::ffn_block(const LayerWeights& layer, int rows) {
  Activations& a = activations_;
  const bool at_once = !layer.experts && adds_at_once(layer.ffn_post_norm);
  if (layer.experts) {
    mixture(layer.experts, rows, a.added);
  } else {
    feed_forward(layer.ffn, config_.ff_width, rows, at_once ? a.residual : a.added, at_once);
  }
  if (!at_once) add_to_residual(a.added, layer.ffn_post_norm, rows);
  normalise_residual(layer.ffn_residual_norm, rows);
}

// Whether a product may be added to the residual where it is made.
bool Decoder::adds_at_once(const Norm& post_norm) const {
  return !post_norm && config_.residual_scale == 1.0f && backend_.adds_in_products();
}

// residual += scale * post_norm(x); the norm may be none.
void Decoder::add_to_residual(float* x, const Norm& post_norm, int rows) {
  const TensorView added = row_view(x, rows, config_.width);
  if (post_norm) normalise(x, post_norm, rows, config_.width, x);
  if (config_.residual_scale != 1.0f) backend_.scale(added, config_.residual_scale, 0.0f);
  const TensorView residual = row_view(activations_.residual, rows, config_.width);
  backend_.binary({BinaryKind::kAdd, residual, added, residual});
}

void Decoder::normalise_residual(const Norm& norm, int rows) {
  if (norm) normalise(activations_.residual, norm, rows, config_.width, activations_.residual);
}

// Neighbours, as the rows of decoding are, in one go.
void Decoder::collect_outputs(std::span<const int32_t> rows) {
  Activations& a = activations_;
  for (size_t first = 0, end; first < rows.size(); first = end) {
    for (end = first + 1; end < rows.size() && rows[end] == rows[end - 1] + 1;) ++end;
    normalise(a.residual + int64_t(rows[first]) * config_.width, weights_.output_norm, int64_t(end - first),
              config_.width, a.normed + int64_t(first) * config_.width);
  }
}

LinearTarget Decoder::head(int rows) const {
  return {&weights_.head.weight, weights_.head.bias.data(), row_view(activations_.logits, rows, config_.vocab), false,
          Precision::kDoubleCodes};
}

// The head for the rows that are wanted only; an encoder's output is the hidden state itself.
Status Decoder::output(const Batch& batch, std::vector<float>& result) {
  Activations& a = activations_;
  const size_t width = size_t(output_width()), step = size_t(a.output_rows());
  result.resize(batch.logit_rows.size() * width);
  for (size_t first = 0; first < batch.logit_rows.size(); first += step) {
    const int count = int(std::min(step, batch.logit_rows.size() - first));
    collect_outputs(std::span(batch.logit_rows).subspan(first, size_t(count)));
    float* rows = a.normed;
    if (!config_.spec->encoder) {
      const LinearTarget target = head(count);
      backend_.linear({row_view(a.normed, count, config_.width), {&target, 1}});
      if (config_.logit_scale != 1.0f || config_.final_softcap > 0)
        backend_.scale(target.out, config_.logit_scale, config_.final_softcap);
      rows = a.logits;
    }
    backend_.copy_to_host(result.data() + first * width, rows, size_t(count) * width * sizeof(float));
  }
  return backend_.synchronize();
}

// One small copy for each piece of rows, and the logits of those that the backend cannot choose from.
Status Decoder::choose(const Batch& batch, const KvCache& cache, std::span<const SampleRow> rows, Choices& choices) {
  METALLIC_CHECK(rows.size() == batch.logit_rows.size() && !config_.spec->encoder);
  evaluate(batch, cache);
  Activations& a = activations_;
  const size_t width = size_t(config_.vocab), step = size_t(a.output_rows());
  choices.ids.resize(rows.size());
  choices.logits.clear();
  for (size_t first = 0; first < rows.size(); first += step) {
    const size_t count = std::min(step, rows.size() - first);
    sample(batch, first, rows.subspan(first, count));
    int32_t* const ids = choices.ids.data() + first;
    backend_.copy_to_host(ids, a.chosen + first, count * sizeof(int32_t));
    METALLIC_TRY(backend_.synchronize());  // ids of a step that failed mean nothing
    for (size_t i = 0; i < count; ++i) {
      if (ids[i] != kChooseOnHost) continue;
      choices.logits.resize(choices.logits.size() + width);
      backend_.copy_to_host(choices.logits.data() + choices.logits.size() - width,
                            a.logits + int64_t(i) * config_.vocab, width * sizeof(float));
    }
  }
  // Nothing is under way but perhaps a step without logits, or copies of them.
  return rows.empty() || !choices.logits.empty() ? backend_.synchronize() : Status();
}

void Decoder::sample(const Batch& batch, size_t first, std::span<const SampleRow> rows) {
  Activations& a = activations_;
  collect_outputs(std::span(batch.logit_rows).subspan(first, rows.size()));
  const LinearTarget target = head(int(rows.size()));
  backend_.sample({row_view(a.normed, int(rows.size()), config_.width), &target, config_.logit_scale,
                   config_.final_softcap, target.out, rows, a.chosen + first});
}

void Decoder::start(const Batch& batch, const KvCache& cache, std::span<const SampleRow> rows) {
  METALLIC_CHECK(rows.size() == batch.logit_rows.size() && int(rows.size()) <= most_ahead());
  evaluate(batch, cache);
  sample(batch, 0, rows);
  run_ahead_->fetch(activations_.chosen, int(rows.size()));
  under_way_.push_back(rows.size());
}

Status Decoder::finish(Choices& choices) {
  METALLIC_CHECK(!under_way_.empty());
  choices.ids.resize(under_way_.front());
  choices.logits.clear();
  under_way_.erase(under_way_.begin());
  return run_ahead_->fetched(choices.ids);
}

void Decoder::linear(const TensorView& x, const Weight& weight, const float* bias, const TensorView& out) {
  const LinearTarget target{&weight, bias, out, false};
  backend_.linear({x, {&target, 1}});
}

// Where there is no norm, `out` is a copy of x.
void Decoder::normalise(const float* x, const Norm& norm, int64_t rows, int64_t width, float* out) {
  const TensorView from = head_view(const_cast<float*>(x), rows, 1, width);
  const TensorView to = head_view(out, rows, 1, width);
  if (norm) {
    backend_.norm({config_.spec->norm, config_.norm_epsilon, from, norm.weight.data(), norm.bias.data(), to});
  } else if (out != x) {
    backend_.copy(from, to);
  }
}

void Decoder::normalise_heads(float* x, const HeadNorm& norm, int64_t rows) {
  const TensorView view = head_view(x, rows, norm.heads, norm.width);
  backend_.norm(
      {config_.spec->norm, config_.norm_epsilon, view, norm.weight.data(), norm.bias.data(), view, norm.stride});
}

}  // namespace metallic
