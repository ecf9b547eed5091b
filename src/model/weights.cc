#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace metallic {
namespace {

// Loads the tensors of one block, "blk.7.".
class LayerLoader {
 public:
  LayerLoader(TensorLoader& loader, Config& config, int index)
      : loader_(loader), config_(config), index_(index), prefix_(fmt::format("blk.{}.", index)) {}

  Status load(LayerWeights& layer) {
    const ArchSpec& spec = *config_.spec;
    // The first block of some encoders reads what the norm of the embeddings gave.
    METALLIC_TRY(block_norm("attn_norm", spec.norms_before && !(spec.encoder && index_ == 0), layer.attention_norm));
    if (config_.latent.rank > 0) {
      METALLIC_TRY(load_latent(layer.latent));
    } else {
      METALLIC_TRY(load_attention(layer));
    }
    METALLIC_ASSIGN(layer.sinks, loader_.optional_vector(prefix_ + "attn_sinks.weight", config_.heads));
    const int value_dim = config_.latent.rank > 0 ? config_.latent.value_dim : config_.value_dim;
    METALLIC_TRY(
        projection("attn_output", whole(config_.width), int64_t(config_.heads) * value_dim, layer.attention_output));
    METALLIC_TRY(block_norm("attn_output_norm", spec.norms_residual, layer.attention_residual_norm));
    if (spec.norms_residual && !layer.attention_norm)
      METALLIC_TRY(block_norm("attn_norm_2", false, layer.attention_second_norm));
    if (spec.ffn_norm != "post_attention_norm")
      METALLIC_TRY(block_norm("post_attention_norm", spec.norms_after, layer.attention_post_norm));
    METALLIC_TRY(block_norm(spec.ffn_norm, spec.norms_before && !config_.parallel_residual, layer.ffn_norm));
    const bool mixture = loader_.has(prefix_ + "ffn_gate_inp.weight");
    METALLIC_TRY(check_mixture(mixture));
    if (mixture) {
      METALLIC_TRY(load_experts(layer.experts));
    } else {
      METALLIC_TRY(load_ffn(layer.ffn));
    }
    METALLIC_TRY(block_norm("post_ffw_norm", spec.norms_after, layer.ffn_post_norm));
    return block_norm("layer_output_norm", spec.norms_residual, layer.ffn_residual_norm);
  }

 private:
  std::string weight(std::string_view name) const { return fmt::format("{}{}.weight", prefix_, name); }

  Status projection(std::string_view name, Part rows, int64_t columns, Projection& result) {
    METALLIC_ASSIGN(result.weight, loader_.matrix(weight(name), rows, columns));
    METALLIC_ASSIGN(result.bias, loader_.optional_vector(fmt::format("{}{}.bias", prefix_, name), rows));
    return {};
  }

  Status norm(std::string_view name, int64_t size, Norm& result) {
    METALLIC_ASSIGN(result.weight, loader_.vector(weight(name), size));
    METALLIC_ASSIGN(result.bias, loader_.optional_vector(fmt::format("{}{}.bias", prefix_, name), size));
    return {};
  }
  Status block_norm(std::string_view name, bool required, Norm& result) {
    return required || loader_.has(weight(name)) ? norm(name, config_.width, result) : Status();
  }

  Status check_mixture(bool found) const {
    const int every = config_.experts.every;
    if (every == 0 || found == (index_ % every == 1)) return {};
    return fail(ErrorCode::kCorrupt, "{}: block {} has {}experts, against {}.moe_every_n_layers, which is {}",
                loader_.file().path(), index_, found ? "" : "no ", config_.spec->name, every);
  }

  Status load_attention(LayerWeights& layer) {
    const int64_t q = config_.query_width(), k = config_.key_width(), v = config_.value_width();
    if (loader_.has(weight("attn_qkv"))) {
      METALLIC_TRY(projection("attn_qkv", {0, q, q + k + v}, config_.width, layer.query));
      METALLIC_TRY(projection("attn_qkv", {q, k, q + k + v}, config_.width, layer.key));
      METALLIC_TRY(projection("attn_qkv", {q + k, v, q + k + v}, config_.width, layer.value));
    } else {
      METALLIC_TRY(projection("attn_q", whole(q), config_.width, layer.query));
      METALLIC_TRY(projection("attn_k", whole(k), config_.width, layer.key));
      METALLIC_TRY(projection("attn_v", whole(v), config_.width, layer.value));
    }
    METALLIC_TRY(head_norm("attn_q_norm", config_.heads, layer.query_norm));
    return head_norm("attn_k_norm", config_.kv_heads, layer.key_norm);
  }

  // One norm for all heads (head_dim), one for each (heads, head_dim), or one over the whole row (heads * head_dim).
  Status head_norm(std::string_view name, int64_t heads, HeadNorm& result) {
    const TensorInfo* info = loader_.file().find_tensor(weight(name));
    const int64_t dim = config_.head_dim;
    if (info == nullptr && !config_.spec->head_norms) return {};
    if (info == nullptr) return tl::unexpected<Error>(loader_.vector(weight(name), dim).error());
    const std::string bias = fmt::format("{}{}.bias", prefix_, name);
    if (info->rank == 2) {
      METALLIC_ASSIGN(result.weight, loader_.table(weight(name), heads, dim));
      if (loader_.has(bias)) {
        METALLIC_ASSIGN(result.bias, loader_.table(bias, heads, dim));
      }
      result.heads = heads, result.width = dim, result.stride = dim;
      return {};
    }
    const bool shared = info->size[0] == uint64_t(dim);
    METALLIC_ASSIGN(result.weight, loader_.vector(weight(name), shared ? dim : heads * dim));
    METALLIC_ASSIGN(result.bias, loader_.optional_vector(bias, shared ? dim : heads * dim));
    result.heads = shared ? heads : 1;
    result.width = shared ? dim : heads * dim;
    return {};
  }

  Status load_latent(LatentAttention& latent) {
    const LatentConfig& sizes = config_.latent;
    const int64_t head_dim = sizes.nope_dim + config_.rope.dims;
    int64_t query_input = config_.width;
    if (sizes.query_rank > 0) {
      METALLIC_ASSIGN(latent.query_down, loader_.matrix(weight("attn_q_a"), sizes.query_rank, config_.width));
      METALLIC_TRY(norm("attn_q_a_norm", sizes.query_rank, latent.query_norm));
      query_input = sizes.query_rank;
    }
    METALLIC_ASSIGN(latent.query, loader_.matrix(weight(sizes.query_rank > 0 ? "attn_q_b" : "attn_q"),
                                                 config_.heads * head_dim, query_input));
    METALLIC_ASSIGN(latent.key_value_down,
                    loader_.matrix(weight("attn_kv_a_mqa"), sizes.rank + config_.rope.dims, config_.width));
    METALLIC_TRY(norm("attn_kv_a_norm", sizes.rank, latent.key_value_norm));
    if (config_.kv_heads > 1 || loader_.has(weight("attn_kv_b"))) {
      METALLIC_ASSIGN(
          latent.key_value,
          loader_.matrix(weight("attn_kv_b"), int64_t(config_.heads) * (sizes.nope_dim + sizes.value_dim), sizes.rank));
      return {};
    }
    METALLIC_ASSIGN(latent.key_up, loader_.matrices(weight("attn_k_b"), config_.heads, sizes.rank, sizes.nope_dim));
    METALLIC_ASSIGN(latent.value_up, loader_.matrices(weight("attn_v_b"), config_.heads, sizes.value_dim, sizes.rank));
    return {};
  }

  Status load_ffn(FeedForward& ffn) {
    const int64_t inner = config_.ff_width;
    METALLIC_TRY(projection("ffn_down", whole(config_.width), inner, ffn.down));
    const TensorInfo* up = loader_.file().find_tensor(weight("ffn_up"));
    const bool fused = up != nullptr && up->size[1] == 2 * uint64_t(inner);
    if (fused) METALLIC_TRY(projection("ffn_up", {0, inner, 2 * inner}, config_.width, ffn.gate));
    METALLIC_TRY(projection("ffn_up", fused ? Part{inner, inner, 2 * inner} : whole(inner), config_.width, ffn.up));
    if (fused || (!config_.spec->gated && !loader_.has(weight("ffn_gate")))) return {};
    return projection("ffn_gate", whole(inner), config_.width, ffn.gate);
  }

  Status load_experts(Experts& experts) {
    const ExpertConfig& sizes = config_.experts;
    if (sizes.count == 0)
      return fail(ErrorCode::kCorrupt, "{}: there is a tensor {}, but the metadata name no experts",
                  loader_.file().path(), weight("ffn_gate_inp"));
    METALLIC_TRY(projection("ffn_gate_inp", whole(sizes.count), config_.width, experts.router));
    METALLIC_ASSIGN(experts.selection_bias, loader_.optional_vector(prefix_ + "exp_probs_b.bias", sizes.count));
    if (config_.spec->gated || loader_.has(weight("ffn_gate_exps"))) {
      METALLIC_ASSIGN(experts.gate, expert_matrices("ffn_gate", sizes.width, config_.width));
    }
    METALLIC_ASSIGN(experts.up, expert_matrices("ffn_up", sizes.width, config_.width));
    METALLIC_ASSIGN(experts.down, expert_matrices("ffn_down", config_.width, sizes.width));
    METALLIC_TRY(expert_bias("ffn_gate_exps", sizes.width, experts.gate_bias));
    METALLIC_TRY(expert_bias("ffn_up_exps", sizes.width, experts.up_bias));
    METALLIC_TRY(expert_bias("ffn_down_exps", config_.width, experts.down_bias));
    METALLIC_TRY(load_output_bias(experts.output_bias));
    const TensorInfo* shared = loader_.file().find_tensor(weight("ffn_up_shexp"));
    if (shared == nullptr) return {};
    const int64_t inner = int64_t(std::min<uint64_t>(shared->size[1], INT32_MAX));
    config_.experts.shared_width = std::max(config_.experts.shared_width, int(inner));
    METALLIC_TRY(projection("ffn_gate_shexp", whole(inner), config_.width, experts.shared.gate));
    METALLIC_TRY(projection("ffn_up_shexp", whole(inner), config_.width, experts.shared.up));
    METALLIC_TRY(projection("ffn_down_shexp", whole(config_.width), inner, experts.shared.down));
    if (const TensorInfo* gate = loader_.file().find_tensor(weight("ffn_gate_inp_shexp"))) {
      // Some writers store the one row as a vector.
      METALLIC_ASSIGN(experts.shared_gate,
                      loader_.matrix(weight("ffn_gate_inp_shexp"), 1,
                                     int64_t(gate->size[0]) == config_.width ? config_.width : -1));
    }
    return {};
  }

  // One tensor for all experts; the first files of Mixtral have one for each, blk.0.ffn_up.7.weight.
  Result<std::vector<Weight>> expert_matrices(std::string_view name, int64_t rows, int64_t columns) {
    const int count = config_.experts.count;
    const std::string all = weight(fmt::format("{}_exps", name));
    const auto of = [&](int expert) { return weight(fmt::format("{}.{}", name, expert)); };
    if (loader_.has(all) || !loader_.has(of(0))) return loader_.matrices(all, count, rows, columns);
    std::vector<Weight> experts;
    for (int expert = 0; expert < count; ++expert) {
      METALLIC_ASSIGN(Weight one, loader_.matrix(of(expert), rows, columns));
      experts.push_back(std::move(one));
    }
    return experts;
  }

  Status expert_bias(std::string_view name, int64_t size, DeviceVector& result) {
    const std::string bias = fmt::format("{}{}.bias", prefix_, name);
    if (!loader_.has(bias)) return {};
    METALLIC_ASSIGN(result, loader_.table(bias, config_.experts.count, size));
    return {};
  }

  // A key, with a row for each block, and no tensor: llama.cpp refuses files with tensors that it does not know.
  Status load_output_bias(DeviceVector& result) {
    const std::string key = fmt::format("{}.expert_output_bias", config_.spec->name);
    if (loader_.file().find(key) == nullptr) return {};
    METALLIC_ASSIGN(const MetadataArray* array, loader_.file().get_array(key));
    const auto numbers = array->numbers();
    const size_t width = size_t(config_.width);
    if (!numbers || numbers->size() != size_t(config_.layers) * width)
      return fail(ErrorCode::kCorrupt, "{}: {} must hold {} numbers for each of {} blocks", loader_.file().path(), key,
                  width, config_.layers);
    const auto first = numbers->begin() + std::ptrdiff_t(size_t(index_) * width);
    const std::vector<float> row(first, first + std::ptrdiff_t(width));
    if (!std::ranges::all_of(row, [](float x) { return std::isfinite(x); }))
      return fail(ErrorCode::kCorrupt, "{}: {} holds what is no number, for block {}", loader_.file().path(), key,
                  index_);
    METALLIC_ASSIGN(result, loader_.upload(row));
    return {};
  }

  TensorLoader& loader_;
  Config& config_;
  int index_;
  std::string prefix_;
};

Status load_norm(TensorLoader& loader, const std::string& name, int64_t size, Norm& norm) {
  METALLIC_ASSIGN(norm.weight, loader.vector(name + ".weight", size));
  METALLIC_ASSIGN(norm.bias, loader.optional_vector(name + ".bias", size));
  return {};
}

Status load_embedding(TensorLoader& loader, Config& config, Weights& weights) {
  const TensorInfo* embedding = loader.file().find_tensor("token_embd.weight");
  if (embedding != nullptr) config.vocab = int(std::min<uint64_t>(embedding->size[1], INT32_MAX));
  const bool tied = !config.spec->encoder && !loader.has("output.weight");  // multiplied too
  METALLIC_ASSIGN(weights.embedding, tied ? loader.matrix("token_embd.weight", config.vocab, config.width)
                                          : loader.lookup("token_embd.weight", config.vocab, config.width));
  const TensorInfo* positions = loader.file().find_tensor("position_embd.weight");
  if (positions == nullptr && !config.spec->rope && config.alibi == 0)
    return tl::unexpected<Error>(loader.matrix("position_embd.weight", config.context_length, config.width).error());
  if (positions != nullptr) {
    config.context_length = int(std::min<uint64_t>(positions->size[1], uint64_t(config.context_length)));
    METALLIC_ASSIGN(weights.positions,
                    loader.lookup("position_embd.weight", int64_t(positions->size[1]), config.width));
  }
  if (const TensorInfo* types = loader.file().find_tensor("token_types.weight")) {
    METALLIC_ASSIGN(weights.token_types, loader.lookup("token_types.weight", int64_t(types->size[1]), config.width));
  }
  return loader.has("token_embd_norm.weight")
             ? load_norm(loader, "token_embd_norm", config.width, weights.embedding_norm)
             : Status();
}

Status load_head(TensorLoader& loader, const Config& config, Weights& weights) {
  if (!config.spec->encoder || loader.has("output_norm.weight"))
    METALLIC_TRY(load_norm(loader, "output_norm", config.width, weights.output_norm));
  if (config.spec->encoder) return {};
  weights.head.weight = weights.embedding;
  if (loader.has("output.weight")) {
    METALLIC_ASSIGN(weights.head.weight, loader.matrix("output.weight", config.vocab, config.width));
  }
  METALLIC_ASSIGN(weights.head.bias, loader.optional_vector("output.bias", config.vocab));
  return {};
}

Status load_rope_factors(TensorLoader& loader, const Config& config, Weights& weights) {
  struct Entry {
    const char* name;
    std::vector<float>* factors;
  };
  const Entry entries[] = {{"rope_freqs.weight", &weights.rope_factors},
                           {"rope_factors_long.weight", &weights.rope_factors_long},
                           {"rope_factors_short.weight", &weights.rope_factors_short}};
  for (const Entry& entry : entries) {
    if (!loader.has(entry.name)) continue;
    METALLIC_ASSIGN(*entry.factors, loader.host_vector(entry.name, config.rope.dims / 2));
    for (const float factor : *entry.factors)
      if (!(factor > 0))
        return fail(ErrorCode::kCorrupt, "{}: {} holds {}; rope factors must be positive", loader.file().path(),
                    entry.name, factor);
  }
  return {};
}

Result<Weights> load_with(TensorLoader& loader, Config& config) {
  Weights weights;
  METALLIC_TRY(load_embedding(loader, config, weights));
  METALLIC_TRY(load_head(loader, config, weights));  // first: while it is packed, the largest matrix is there twice
  for (int i = 0; i < config.layers; ++i)
    METALLIC_TRY(LayerLoader(loader, config, i).load(weights.layers.emplace_back()));
  METALLIC_TRY(load_rope_factors(loader, config, weights));
  return weights;
}

}  // namespace

Result<Weights> load_first_layers(std::shared_ptr<const GgufFile> file, Config& config, Backend& backend) {
  TensorLoader loader(std::move(file), backend, nullptr);
  return load_with(loader, config);
}

Result<Weights> load_weights(std::shared_ptr<const GgufFile> file, Config& config, Backend& backend,
                             Residency* residency, LoadedMatrices* loaded) {
  TensorLoader loader(std::move(file), backend, residency, loaded);
  METALLIC_ASSIGN(Weights weights, load_with(loader, config));
  METALLIC_TRY(loader.check_all_used());
  if (residency) METALLIC_TRY(residency->start(order_of_use(weights)));
  return weights;
}

std::vector<Weight*> order_of_use(Weights& weights) {
  std::vector<Weight*> order;
  const auto add = [&order](Weight& weight) {
    if (weight.rows() > 0) order.push_back(&weight);
  };
  const auto add_all = [&add](std::vector<Weight>& matrices) {
    for (Weight& weight : matrices) add(weight);
  };
  const auto add_ffn = [&add](FeedForward& ffn) {
    for (Projection* projection : {&ffn.up, &ffn.gate, &ffn.down}) add(projection->weight);
  };
  for (LayerWeights& layer : weights.layers) {
    LatentAttention& latent = layer.latent;
    for (Weight* weight : {&layer.query.weight, &layer.key.weight, &layer.value.weight, &latent.query_down,
                           &latent.query, &latent.key_value_down, &latent.key_value})
      add(*weight);
    add_all(latent.key_up);
    add_all(latent.value_up);
    add(layer.attention_output.weight);
    add_ffn(layer.ffn);
    add_ffn(layer.experts.shared);
    add(layer.experts.shared_gate);
    add(layer.experts.router.weight);
    for (std::vector<Weight>* experts : {&layer.experts.gate, &layer.experts.up, &layer.experts.down})
      add_all(*experts);
  }
  add(weights.head.weight);
  return order;
}

}  // namespace metallic
