// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1). Keys and values are projections of one
// short latent vector. Two forms of it, by what the file holds:
// - key_value: keys and values of all heads are computed from the latent vector and cached;
// - key_up, value_up: the latent vector itself is cached, as the one key and value of all heads; queries are brought to
// its space
//   before attention, and what they attended to from there to values behind it.
#include "model/forward.h"

namespace metallic {
namespace {

// `count` elements of each head, from `first`, of a (rows, heads, width) view.
TensorView part_of_heads(const TensorView& view, int64_t first, int64_t count) {
  TensorView part = view;
  part.data = static_cast<char*>(view.data) + first * view.stride[2];
  part.shape.size[2] = count;
  return part;
}

// Head `head` of a (rows, heads, width) view as (rows, width).
TensorView one_head(const TensorView& view, int64_t head) {
  TensorView result{
      static_cast<char*>(view.data) + head * view.stride[1], view.format, {view.shape[0], view.shape[2]}, {}};
  result.stride = {view.stride[0], view.stride[2], 0, 0};
  return result;
}

}  // namespace

void Decoder::latent_query_key_value(const LatentAttention& latent, int index, const Batch& batch) {
  Activations& a = activations_;
  const LatentConfig& sizes = config_.latent;
  const int64_t rows = batch.rows(), heads = config_.heads, rope = config_.rope.dims, nope = sizes.nope_dim;
  const TensorView normed = row_view(a.normed, rows, config_.width);

  // Queries, and their rotated ends.
  const TensorView whole_query = head_view(a.whole_query, rows, heads, nope + rope);
  const TensorView query_rows = row_view(a.whole_query, rows, heads * (nope + rope));
  if (sizes.query_rank > 0) {
    linear(normed, latent.query_down, nullptr, row_view(a.latent_query, rows, sizes.query_rank));
    normalise(a.latent_query, latent.query_norm, rows, sizes.query_rank, a.latent_query);
    linear(row_view(a.latent_query, rows, sizes.query_rank), latent.query, nullptr, query_rows);
  } else {
    linear(normed, latent.query, nullptr, query_rows);
  }
  rotate(part_of_heads(whole_query, nope, rope), index, batch);

  // The latent vector, and the one rotated key end that all heads share.
  linear(normed, latent.key_value_down, nullptr, row_view(a.latent, rows, sizes.rank + rope));
  const TensorView latent_row = head_view(a.latent, rows, 1, sizes.rank + rope);
  const TensorView compressed = part_of_heads(latent_row, 0, sizes.rank);
  const TensorView key_end = part_of_heads(latent_row, sizes.rank, rope);
  backend_.norm(
      {config_.spec->norm, config_.norm_epsilon, compressed, latent.key_value_norm.weight.data(), nullptr, compressed});
  rotate(key_end, index, batch);

  const TensorView query = head_view(a.query, rows, heads, config_.head_dim);
  const TensorView key = head_view(a.key, rows, config_.kv_heads, config_.head_dim);
  const TensorView value = head_view(a.value, rows, config_.kv_heads, config_.value_dim);
  if (latent.key_up.empty()) {
    const TensorView whole = head_view(a.whole_values, rows, heads, nope + sizes.value_dim);
    TensorView compressed_rows = row_view(a.latent, rows, sizes.rank + rope);
    compressed_rows.shape.size[1] = sizes.rank;
    linear(compressed_rows, latent.key_value, nullptr,
           row_view(a.whole_values, rows, heads * (nope + sizes.value_dim)));
    TensorView all_key_ends = key_end;
    all_key_ends.shape.size[1] = heads;
    all_key_ends.stride[1] = 0;
    backend_.copy(whole_query, query);
    backend_.copy(part_of_heads(whole, 0, nope), part_of_heads(key, 0, nope));
    backend_.copy(all_key_ends, part_of_heads(key, nope, rope));
    backend_.copy(part_of_heads(whole, nope, sizes.value_dim), value);
    return;
  }
  const TensorView query_start = part_of_heads(whole_query, 0, nope);
  const TensorView latent_query = part_of_heads(query, 0, sizes.rank);
  for (int64_t head = 0; head < heads; ++head)
    linear(one_head(query_start, head), latent.key_up[size_t(head)], nullptr, one_head(latent_query, head));
  backend_.copy(part_of_heads(whole_query, nope, rope), part_of_heads(query, sizes.rank, rope));
  backend_.copy(latent_row, key);
  backend_.copy(compressed, value);
}

// whole_values (rows, heads * value) from what was attended to in the latent space.
void Decoder::latent_values(const LatentAttention& latent, int rows) {
  const TensorView attended = head_view(activations_.attended, rows, config_.heads, config_.value_dim);
  const TensorView values = head_view(activations_.whole_values, rows, config_.heads, config_.latent.value_dim);
  for (int64_t head = 0; head < config_.heads; ++head)
    linear(one_head(attended, head), latent.value_up[size_t(head)], nullptr, one_head(values, head));
}

}  // namespace metallic
