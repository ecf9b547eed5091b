// BERT, RoBERTa, Nomic BERT and ModernBERT: encoders, whose attention sees both ways.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/transforms.h"

namespace metallic::convert {
namespace {

// What Jina BERT has too.
constexpr auto kBertAttention = std::to_array<TensorRule>({
    {"embeddings.word_embeddings", "token_embd", "VW"},
    {"embeddings.token_type_embeddings", "token_types", "tW"},
    {"embeddings.LayerNorm", "token_embd_norm", "W"},
    {"encoder.layer.{b}.attention.self.query", "blk.{b}.attn_q", "WW"},
    {"encoder.layer.{b}.attention.self.key", "blk.{b}.attn_k", "WW"},
    {"encoder.layer.{b}.attention.self.value", "blk.{b}.attn_v", "WW"},
    {"encoder.layer.{b}.attention.output.dense", "blk.{b}.attn_output", "WW"},
    {"encoder.layer.{b}.attention.output.LayerNorm", "blk.{b}.attn_output_norm", "W"},
});

constexpr auto kBert =
    join_rules(kBertAttention, std::to_array<TensorRule>({
                                   {"embeddings.position_embeddings", "position_embd", "CW"},
                                   {"encoder.layer.{b}.intermediate.dense", "blk.{b}.ffn_up", "FW"},
                                   {"encoder.layer.{b}.output.dense", "blk.{b}.ffn_down", "WF"},
                                   {"encoder.layer.{b}.output.LayerNorm", "blk.{b}.layer_output_norm", "W"},
                               }));

// RoBERTa: positions count from behind the padding token's.
Status drop_first_positions(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  const int64_t rows = dims['p'], kept = dims['C'];
  return plan.add(match.to[0], {kept, dims['W']}, match.view().slice(0, rows - kept, rows));
}

constexpr auto kRoberta = [] {
  auto rules = kBert;
  for (TensorRule& rule : rules)
    if (rule.to == "position_embd") {
      rule.shape = "pW";
      rule.transform = drop_first_positions;
    }
  return rules;
}();

// Heads of pre-training, and the pooler, which embeddings do not use.
constexpr std::string_view kBertDropped[] = {"embeddings.position_ids", "pooler.dense.", "cls.predictions.",
                                             "cls.seq_relationship.", "lm_head."};

// All of Nomic BERT but its feed-forward parts.
constexpr auto kNomicShared = std::to_array<TensorRule>({
    {"embeddings.word_embeddings", "token_embd", "VW"},
    {"embeddings.token_type_embeddings", "token_types", "tW", copy_tensor, false},
    {"emb_ln", "token_embd_norm", "W"},
    {"encoder.layers.{b}.attn.Wqkv", "blk.{b}.attn_qkv", "TW"},
    {"encoder.layers.{b}.attn.out_proj", "blk.{b}.attn_output", "WW"},
    {"encoder.layers.{b}.norm1", "blk.{b}.attn_output_norm", "W"},
    {"encoder.layers.{b}.norm2", "blk.{b}.layer_output_norm", "W"},
});

constexpr auto kNomic = join_rules(kNomicShared, std::to_array<TensorRule>({
                                                     {"encoder.layers.{b}.mlp.fc11", "blk.{b}.ffn_up", "FW"},
                                                     {"encoder.layers.{b}.mlp.fc12", "blk.{b}.ffn_gate", "FW"},
                                                     {"encoder.layers.{b}.mlp.fc2", "blk.{b}.ffn_down", "WF"},
                                                 }));

// fc1 and fc2 of the dense layers; those of each expert stacked, w2 transposed.
Status stacked_rows(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return plan.add(match.to[0], {dims['E'], dims['F'], dims['W']}, match.view());
}
// Added once to what the chosen experts give. llama.cpp leaves it out, and refuses a file with a tensor of that name.
Status key_row(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return plan.add_key_row(match.rule->to, match.block, dims['L'], match.view());
}
Status stacked_columns(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  const WeightView experts = match.view().split(0, {dims['E'], dims['F']});
  return plan.add(match.to[0], {dims['E'], dims['W'], dims['F']}, experts.swap(1, 2));
}

constexpr auto kNomicMoe = join_rules(
    kNomicShared, std::to_array<TensorRule>({
                      {"encoder.layers.{b}.mlp.fc1", "blk.{b}.ffn_up", "FW", copy_tensor, false},
                      {"encoder.layers.{b}.mlp.fc2", "blk.{b}.ffn_down", "WF", copy_tensor, false},
                      {"encoder.layers.{b}.mlp.router.layer", "blk.{b}.ffn_gate_inp", "EW", copy_tensor, false},
                      {"encoder.layers.{b}.mlp.experts.mlp.w1", "blk.{b}.ffn_up_exps", "XW", stacked_rows, false},
                      {"encoder.layers.{b}.mlp.experts.mlp.w2", "blk.{b}.ffn_down_exps", "XW", stacked_columns, false},
                      {"encoder.layers.{b}.mlp.experts", "expert_output_bias", "W", key_row, false},
                  }));

// Jina Embeddings 2: first as for text, then the names of the model for code, where `up_gated_layer` has the gate last.
constexpr auto kJina = join_rules(
    kBertAttention,
    std::to_array<TensorRule>({
        {"encoder.layer.{b}.mlp.gated_layers", "blk.{b}.ffn_gate,blk.{b}.ffn_up", "GW", split_halves},
        {"encoder.layer.{b}.mlp.wo", "blk.{b}.ffn_down", "WF"},
        {"encoder.layer.{b}.mlp.layernorm", "blk.{b}.layer_output_norm", "W"},
        {"encoder.layer.{b}.attention.self.layer_norm_q", "blk.{b}.attn_q_norm", "W", copy_tensor, false},
        {"encoder.layer.{b}.attention.self.layer_norm_k", "blk.{b}.attn_k_norm", "W", copy_tensor, false},
        {"encoder.layer.{b}.layer_norm_1", "blk.{b}.attn_norm_2", "W", copy_tensor, false},
        {"encoder.layer.{b}.mlp.up_gated_layer", "blk.{b}.ffn_up,blk.{b}.ffn_gate", "GW", split_halves, false},
        {"encoder.layer.{b}.mlp.down_layer", "blk.{b}.ffn_down", "WF", copy_tensor, false},
        {"encoder.layer.{b}.layer_norm_2", "blk.{b}.layer_output_norm", "W", copy_tensor, false},
    }));

constexpr TensorRule kModern[] = {
    {"embeddings.tok_embeddings", "token_embd", "VW"},
    {"embeddings.norm", "token_embd_norm", "W"},
    {"layers.{b}.attn_norm", "blk.{b}.attn_norm", "W", copy_tensor, false},  // the first block has none
    {"layers.{b}.attn.Wqkv", "blk.{b}.attn_qkv", "TW"},
    {"layers.{b}.attn.Wo", "blk.{b}.attn_output", "WW"},
    {"layers.{b}.mlp_norm", "blk.{b}.ffn_norm", "W"},
    {"layers.{b}.mlp.Wi", "blk.{b}.ffn_up", "GW"},
    {"layers.{b}.mlp.Wo", "blk.{b}.ffn_down", "WF"},
    {"final_norm", "output_norm", "W"},
};

constexpr std::string_view kModernDropped[] = {"head.dense.", "head.norm.", "decoder.", "rotary_emb.inv_freq"};

constexpr std::string_view kAbsolute[] = {"absolute"};
constexpr std::string_view kAlibi[] = {"alibi"};
constexpr std::string_view kGeglu[] = {"geglu"};

Status set_encoder_dims(HfModel& model) {
  METALLIC_TRY(refuse_flags(model.config, {"is_decoder"}));
  METALLIC_ASSIGN(const int64_t types, model.config.size_or({"type_vocab_size"}, 2));
  model.dims.set('t', types);
  model.dims.set('T', 3 * model.dims['W']);
  if (model.dims['Q'] != model.dims['W'] || model.dims['K'] != model.dims['H'])
    return fail(ErrorCode::kUnsupported, "{}: hidden_size must be heads x head size, without KV heads of their own",
                model.config.path());
  return {};
}

Status set_dims(HfModel& model) {
  METALLIC_TRY(require_text(model.config, {"position_embedding_type"}, kAbsolute));
  return set_encoder_dims(model);
}

Status set_jina_dims(HfModel& model) {
  METALLIC_TRY(require_text(model.config, {"position_embedding_type"}, kAlibi));
  METALLIC_TRY(require_text(model.config, {"feed_forward_type"}, kGeglu));
  return set_encoder_dims(model);
}

Status write_encoder_keys(const HfModel& model, KeyWriter& keys) {
  keys.flag("attention.causal", false);
  return write_pooling(model, keys);
}

Status set_roberta_dims(HfModel& model) {
  METALLIC_TRY(set_dims(model));
  METALLIC_ASSIGN(const int64_t padding, model.config.integer_or({"pad_token_id"}, 1));
  const int64_t positions = model.dims['C'];
  if (padding < 0 || padding + 1 >= positions)
    return fail(ErrorCode::kCorrupt, "{}: pad_token_id {} leaves none of {} positions", model.config.path(), padding,
                positions);
  model.dims.set('p', positions);
  model.dims.set('C', positions - padding - 1);
  return {};
}

// `said` positions were meant to be possible, `trained` ones are; more needs another rope.
Status set_nomic_dims(HfModel& model, int64_t said, int64_t trained) {
  METALLIC_TRY(set_dims(model));
  METALLIC_ASSIGN(const int64_t most, model.config.size_or({"max_trained_positions"}, 2048));
  if (model.dims['C'] == said && most == 2048) model.dims.set('C', trained);
  METALLIC_ASSIGN(const bool norm_first, model.config.flag_or({"prenorm"}, false));
  METALLIC_ASSIGN(const bool neighbours, model.config.flag_or({"rotary_emb_interleaved"}, false));
  METALLIC_ASSIGN(const double share, model.config.number_or({"rotary_emb_fraction"}, 1));
  if (norm_first || neighbours || share != 1)
    return fail(ErrorCode::kUnsupported,
                "{}: prenorm, rotary_emb_interleaved and rotary_emb_fraction other than 1 are not supported",
                model.config.path());
  return {};
}

// nomic-embed-text v1 and v1.5.
Status set_nomic_dims(HfModel& model) { return set_nomic_dims(model, 8192, 2048); }

// nomic-embed-text v2.
Status set_nomic_moe_dims(HfModel& model) {
  METALLIC_TRY(set_nomic_dims(model, 2048, 512));
  METALLIC_TRY(refuse_flags(model.config, {"expert_choice_router", "moe_normalize_expert_weights"}));
  METALLIC_ASSIGN(const int64_t shared, model.config.integer_or({"num_shared_experts"}, 0));
  if (shared != 0)
    return fail(ErrorCode::kUnsupported, "{}: num_shared_experts is {}; only 0 is supported", model.config.path(),
                shared);
  METALLIC_ASSIGN(const int64_t experts, model.config.size({"num_experts"}));
  if (experts > INT32_MAX / model.dims['F'])
    return fail(ErrorCode::kCorrupt, "{}: {} experts of {} are too many", model.config.path(), experts,
                model.dims['F']);
  model.dims.set('E', experts);
  model.dims.set('X', experts * model.dims['F']);
  return {};
}

Status write_nomic_moe_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_encoder_keys(model, keys));
  METALLIC_ASSIGN(const int64_t every, model.config.size({"moe_every_n_layers"}));
  METALLIC_ASSIGN(const int64_t used, model.config.size_or({"moe_top_k"}, 1));
  keys.size("moe_every_n_layers", every);
  keys.size("expert_used_count", used);
  return {};
}

Status write_modern_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_encoder_keys(model, keys));
  const JsonObject& config = model.config;
  METALLIC_ASSIGN(const double epsilon, config.number_or({"layer_norm_eps", "norm_eps"}, 1e-5));
  METALLIC_ASSIGN(const int64_t window, config.size_or({"local_attention"}, 128));
  METALLIC_ASSIGN(const int64_t period, config.size_or({"global_attn_every_n_layers"}, 3));
  keys.number("attention.layer_norm_epsilon", epsilon);
  keys.size("attention.sliding_window", window);
  keys.size("attention.sliding_window_pattern", period);
  keys.text("rope.scaling.type", "none");
  keys.size("vocab_size", model.dims['V']);
  return {};
}

constexpr std::string_view kSwiglu[] = {"swiglu", "silu"};
constexpr std::string_view kBertNames[] = {"BertModel", "BertForMaskedLM"};
constexpr std::string_view kRobertaNames[] = {"XLMRobertaModel", "XLMRobertaForMaskedLM", "RobertaModel",
                                              "RobertaForMaskedLM", "CamembertModel"};
constexpr std::string_view kRobertaPrefixes[] = {"roberta."};
constexpr std::string_view kNomicNames[] = {"NomicBertModel"};
constexpr std::string_view kJinaNames[] = {"JinaBertModel", "JinaBertForMaskedLM"};
constexpr std::string_view kModernNames[] = {"ModernBertModel", "ModernBertForMaskedLM"};
constexpr std::string_view kBertPrefixes[] = {"bert."};

}  // namespace

const ConvertArch& convert_bert() {
  static constexpr ConvertArch kArch{.hf_names = kBertNames,
                                     .name = "bert",
                                     .rules = kBert,
                                     .options = {kBertPrefixes, kBertDropped},
                                     .set_dims = set_dims,
                                     .write_keys = write_encoder_keys,
                                     .activations = kGelu,
                                     .defaults = R"({"layer_norm_eps": 1e-12})"};
  return kArch;
}

const ConvertArch& convert_roberta() {
  static constexpr ConvertArch kArch{.hf_names = kRobertaNames,
                                     .name = "bert",
                                     .rules = kRoberta,
                                     .options = {kRobertaPrefixes, kBertDropped},
                                     .set_dims = set_roberta_dims,
                                     .write_keys = write_encoder_keys,
                                     .activations = kGelu,
                                     .defaults = R"({"layer_norm_eps": 1e-12})"};
  return kArch;
}

const ConvertArch& convert_nomic_bert() {
  static constexpr ConvertArch kArch{.hf_names = kNomicNames,
                                     .name = "nomic-bert",
                                     .rules = kNomic,
                                     .options = {kBertPrefixes, kBertDropped},
                                     .set_dims = set_nomic_dims,
                                     .write_keys = write_encoder_keys,
                                     .activations = kSwiglu};
  return kArch;
}

const ConvertArch& convert_nomic_bert_moe() {
  static constexpr ConvertArch kArch{.hf_names = kNomicNames,
                                     .name = "nomic-bert-moe",
                                     .rules = kNomicMoe,
                                     .options = {kBertPrefixes, kBertDropped},
                                     .set_dims = set_nomic_moe_dims,
                                     .write_keys = write_nomic_moe_keys,
                                     .activations = kGelu,
                                     .only_with = "moe_every_n_layers",
                                     .defaults = R"({"layer_norm_epsilon": 1e-12})"};
  return kArch;
}

const ConvertArch& convert_jina_bert() {
  static constexpr ConvertArch kArch{.hf_names = kJinaNames,
                                     .name = "jina-bert-v2",
                                     .rules = kJina,
                                     .options = {kBertPrefixes, kBertDropped},
                                     .set_dims = set_jina_dims,
                                     .write_keys = write_encoder_keys,
                                     .activations = kGelu,
                                     .defaults = R"({"layer_norm_eps": 1e-12, "position_embedding_type": "absolute",
                                     "feed_forward_type": "original"})"};
  return kArch;
}

const ConvertArch& convert_modern_bert() {
  static constexpr ConvertArch kArch{.hf_names = kModernNames,
                                     .name = "modern-bert",
                                     .rules = kModern,
                                     .options = {kModelPrefix, kModernDropped},
                                     .set_dims = set_dims,
                                     .write_keys = write_modern_keys,
                                     .activations = kGelu,
                                     .pre_tokenizer = "modern-bert"};
  return kArch;
}

}  // namespace metallic::convert
