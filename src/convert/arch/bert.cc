// BERT, RoBERTa, Nomic BERT and ModernBERT: encoders, whose attention sees both ways.
#include "base/error.h"
#include "convert/arch/archs.h"

namespace metallic::convert {
namespace {

constexpr TensorRule kBert[] = {
    {"embeddings.word_embeddings", "token_embd", "VW"},
    {"embeddings.token_type_embeddings", "token_types", "tW"},
    {"embeddings.position_embeddings", "position_embd", "CW"},
    {"embeddings.LayerNorm", "token_embd_norm", "W"},
    {"encoder.layer.{b}.attention.self.query", "blk.{b}.attn_q", "WW"},
    {"encoder.layer.{b}.attention.self.key", "blk.{b}.attn_k", "WW"},
    {"encoder.layer.{b}.attention.self.value", "blk.{b}.attn_v", "WW"},
    {"encoder.layer.{b}.attention.output.dense", "blk.{b}.attn_output", "WW"},
    {"encoder.layer.{b}.attention.output.LayerNorm", "blk.{b}.attn_output_norm", "W"},
    {"encoder.layer.{b}.intermediate.dense", "blk.{b}.ffn_up", "FW"},
    {"encoder.layer.{b}.output.dense", "blk.{b}.ffn_down", "WF"},
    {"encoder.layer.{b}.output.LayerNorm", "blk.{b}.layer_output_norm", "W"},
};

// RoBERTa: positions count from behind the padding token's.
Status drop_first_positions(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  const int64_t rows = dims['p'], kept = dims['C'];
  return plan.add(match.to[0], {kept, dims['W']}, match.view().slice(0, rows - kept, rows));
}

constexpr auto kRoberta = [] {
  auto rules = std::to_array(kBert);
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

constexpr TensorRule kNomic[] = {
    {"embeddings.word_embeddings", "token_embd", "VW"},
    {"embeddings.token_type_embeddings", "token_types", "tW", copy_tensor, false},
    {"emb_ln", "token_embd_norm", "W"},
    {"encoder.layers.{b}.attn.Wqkv", "blk.{b}.attn_qkv", "TW"},
    {"encoder.layers.{b}.attn.out_proj", "blk.{b}.attn_output", "WW"},
    {"encoder.layers.{b}.norm1", "blk.{b}.attn_output_norm", "W"},
    {"encoder.layers.{b}.mlp.fc11", "blk.{b}.ffn_up", "FW"},
    {"encoder.layers.{b}.mlp.fc12", "blk.{b}.ffn_gate", "FW"},
    {"encoder.layers.{b}.mlp.fc2", "blk.{b}.ffn_down", "WF"},
    {"encoder.layers.{b}.norm2", "blk.{b}.layer_output_norm", "W"},
};

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

Status set_dims(HfModel& model) {
  METALLIC_TRY(refuse_flags(model.config, {"is_decoder"}));
  METALLIC_TRY(require_text(model.config, {"position_embedding_type"}, kAbsolute));
  METALLIC_ASSIGN(const int64_t types, model.config.size_or({"type_vocab_size"}, 2));
  model.dims.set('t', types);
  model.dims.set('T', 3 * model.dims['W']);
  if (model.dims['Q'] != model.dims['W'] || model.dims['K'] != model.dims['H'])
    return fail(ErrorCode::kUnsupported, "{}: hidden_size must be heads x head size, without KV heads of their own",
                model.config.path());
  return {};
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

Status set_nomic_dims(HfModel& model) {
  METALLIC_TRY(set_dims(model));
  // nomic-embed-text v1 and v1.5 say 8192 positions and were trained on 2048; more needs another rope.
  METALLIC_ASSIGN(const int64_t trained, model.config.size_or({"max_trained_positions"}, 2048));
  if (model.dims['C'] == 8192 && trained == 2048) model.dims.set('C', trained);
  METALLIC_ASSIGN(const bool norm_first, model.config.flag_or({"prenorm"}, false));
  METALLIC_ASSIGN(const bool neighbours, model.config.flag_or({"rotary_emb_interleaved"}, false));
  METALLIC_ASSIGN(const double share, model.config.number_or({"rotary_emb_fraction"}, 1));
  METALLIC_ASSIGN(const int64_t experts_every, model.config.integer_or({"moe_every_n_layers"}, 0));
  if (norm_first || neighbours || share != 1 || experts_every != 0)
    return fail(ErrorCode::kUnsupported,
                "{}: prenorm, rotary_emb_interleaved, rotary_emb_fraction other than 1 and moe_every_n_layers are not "
                "supported",
                model.config.path());
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
