// The parts of a file that no reader has to look at: gaps, padding, keys that nobody asks for, values that contradict
// each other. Damage there would otherwise go unnoticed.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/checked_math.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "engine/verify_checks.h"
#include "gguf/open_parts.h"

namespace metallic {
namespace {

// Keys in use, from the specification and the writers of today; * stands for any ending. ARCH is the architecture.
constexpr auto kKnownKeys = std::to_array<std::string_view>({
    "general.architecture",
    "general.alignment",
    "general.author",
    "general.base_model.*",
    "general.basename",
    "general.dataset.*",
    "general.datasets",
    "general.description",
    "general.doi",
    "general.file_type",
    "general.finetune",
    "general.languages",
    "general.license",
    "general.license.*",
    "general.name",
    "general.organization",
    "general.quantization_version",
    "general.quantized_by",
    "general.repo_url",
    "general.sampling.*",
    "general.size_label",
    "general.source.*",
    "general.tags",
    "general.type",
    "general.url",
    "general.uuid",
    "general.version",
    "quantize.imatrix.*",
    "split.count",
    "split.no",
    "split.tensors.count",
    "tokenizer.chat_template",
    "tokenizer.chat_template.*",
    "tokenizer.chat_templates",
    "tokenizer.huggingface.json",
    "tokenizer.rwkv.world",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.added_tokens",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.cls_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.escape_whitespaces",
    "tokenizer.ggml.fim_*",
    "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.middle_token_id",
    "tokenizer.ggml.model",
    "tokenizer.ggml.normalizer.lowercase",
    "tokenizer.ggml.normalizer.strip_accents",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.precompiled_charsmap",
    "tokenizer.ggml.prefix_token_id",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.separator_token_id",
    "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.token_type_count",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.treat_whitespace_as_suffix",
    "tokenizer.ggml.unknown_token_id",
    "ARCH.activation",
    "ARCH.attn_logit_softcapping",
    "ARCH.block_count",
    "ARCH.context_length",
    "ARCH.decoder_block_count",
    "ARCH.decoder_start_token_id",
    "ARCH.dense_*",
    "ARCH.embedding_length",
    "ARCH.embedding_length_out",
    "ARCH.embedding_length_per_layer_input",
    "ARCH.embedding_scale",
    "ARCH.expert_chunk_feed_forward_length",
    "ARCH.expert_count",
    "ARCH.expert_feed_forward_length",
    "ARCH.expert_gating_func",
    "ARCH.expert_group_count",
    "ARCH.expert_group_scale",
    "ARCH.expert_group_used_count",
    "ARCH.expert_output_bias",
    "ARCH.expert_shared_count",
    "ARCH.expert_shared_feed_forward_length",
    "ARCH.expert_used_count",
    "ARCH.expert_weights_norm",
    "ARCH.expert_weights_scale",
    "ARCH.experts_per_group",
    "ARCH.feed_forward_length",
    "ARCH.final_logit_softcapping",
    "ARCH.full_attention_interval",
    "ARCH.input_length",
    "ARCH.interleave_moe_layer_step",
    "ARCH.leading_dense_block_count",
    "ARCH.logit_scale",
    "ARCH.moe_every_n_layers",
    "ARCH.nextn_predict_layers",
    "ARCH.output_activation",
    "ARCH.output_length",
    "ARCH.pooling_type",
    "ARCH.rescale_every_n_layers",
    "ARCH.residual_scale",
    "ARCH.router_logit_softcapping",
    "ARCH.swin_norm",
    "ARCH.tensor_data_layout",
    "ARCH.use_parallel_residual",
    "ARCH.vocab_size",
    "ARCH.attention.causal",
    "ARCH.attention.clamp_kqv",
    "ARCH.attention.group_norm_epsilon",
    "ARCH.attention.group_norm_groups",
    "ARCH.attention.head_count",
    "ARCH.attention.head_count_kv",
    "ARCH.attention.indexer.*",
    "ARCH.attention.key_length",
    "ARCH.attention.key_length_mla",
    "ARCH.attention.key_length_swa",
    "ARCH.attention.kv_lora_rank",
    "ARCH.attention.layer_norm_epsilon",
    "ARCH.attention.layer_norm_rms_epsilon",
    "ARCH.attention.max_alibi_bias",
    "ARCH.attention.output_scale",
    "ARCH.attention.q_lora_rank",
    "ARCH.attention.relative_buckets_count",
    "ARCH.attention.scale",
    "ARCH.attention.shared_kv_layers",
    "ARCH.attention.sliding_window",
    "ARCH.attention.sliding_window_pattern",
    "ARCH.attention.temperature_length",
    "ARCH.attention.temperature_scale",
    "ARCH.attention.value_length",
    "ARCH.attention.value_length_mla",
    "ARCH.attention.value_length_swa",
    "ARCH.rope.dimension_count",
    "ARCH.rope.dimension_count_swa",
    "ARCH.rope.dimension_sections",
    "ARCH.rope.freq_base",
    "ARCH.rope.freq_base_swa",
    "ARCH.rope.layers",
    "ARCH.rope.scale_linear",
    "ARCH.rope.scaling.alpha",
    "ARCH.rope.scaling.attn_factor",
    "ARCH.rope.scaling.dynamic_factor",
    "ARCH.rope.scaling.factor",
    "ARCH.rope.scaling.finetuned",
    "ARCH.rope.scaling.original_context_length",
    "ARCH.rope.scaling.type",
    "ARCH.rope.scaling.yarn_attn_factor",
    "ARCH.rope.scaling.yarn_beta_fast",
    "ARCH.rope.scaling.yarn_beta_slow",
    "ARCH.rope.scaling.yarn_ext_factor",
    "ARCH.rope.scaling.yarn_log_multiplier",
    "ARCH.rope.scaling.yarn_truncate",
    "ARCH.ssm.conv_kernel",
    "ARCH.ssm.dt_b_c_rms",
    "ARCH.ssm.group_count",
    "ARCH.ssm.inner_size",
    "ARCH.ssm.state_size",
    "ARCH.ssm.time_step_rank",
    "ARCH.wkv.head_size",
});

// What numbers of any architecture end in that every writer stores as floats.
constexpr auto kFloatEndings = std::to_array<std::string_view>({
    "_epsilon",
    "_scale",
    ".scale",
    "_softcapping",
    "freq_base",
    "freq_base_swa",
    "_factor",
    ".factor",
    "_beta_fast",
    "_beta_slow",
    "_log_multiplier",
    "clamp_kqv",
    "max_alibi_bias",
    "scale_linear",
});

bool is_float(MetadataType type) { return type == MetadataType::kFloat32 || type == MetadataType::kFloat64; }

// Between the smallest and the largest number that means something. Small integers read as floats lie below.
bool is_plausible(double number) { return number == 0 || (std::abs(number) > 1e-30 && std::abs(number) < 1e30); }

bool is_known(std::string_view key, std::string_view arch) {
  return std::ranges::any_of(kKnownKeys, [&](std::string_view known) {
    std::string_view rest = key;
    if (known.starts_with("ARCH.")) {
      if (arch.empty() || !rest.starts_with(arch)) return false;
      rest.remove_prefix(arch.size());
      known.remove_prefix(4);
    }
    if (known.ends_with('*')) return rest.starts_with(known.substr(0, known.size() - 1));
    return rest == known;
  });
}

bool is_plain_text(std::string_view text) {
  return find_invalid_utf8(text) == std::string_view::npos &&
         std::ranges::none_of(text, [](char c) { return uint8_t(c) < 0x20 && c != '\n' && c != '\t' && c != '\r'; });
}

void check_value(const MetadataEntry& entry, Findings& findings) {
  const std::string key = printable(entry.key);
  if (const auto text = entry.value.as_string(); text && !is_plain_text(*text))
    findings.warn(fmt::format("the text of {} is not UTF-8 or has control characters", key));
  const auto finite = [](double number) { return std::isfinite(number); };
  if (const auto number = entry.value.as_number(); number && !finite(*number))
    findings.failed(fmt::format("{} is {}", key, *number));
  else if (number && is_float(entry.value.type()) && !is_plausible(*number))
    findings.warn(fmt::format("{} is {}, which no model needs", key, *number));
  else if (number && !is_float(entry.value.type()) && !entry.key.starts_with("general.") &&
           std::ranges::any_of(kFloatEndings, [&](std::string_view end) { return entry.key.ends_with(end); }))
    findings.warn(
        fmt::format("{} has the type {}; writers store it as float32", key, metadata_type_name(entry.value.type())));
  const MetadataArray* array = entry.value.as_array();
  if (array == nullptr) return;
  if (const auto numbers = array->numbers(); is_float(array->element_type()) && numbers) {
    if (!std::ranges::all_of(*numbers, finite))
      findings.failed(fmt::format("{} has numbers that are not finite", key));
    else if (const auto odd = std::ranges::find_if_not(*numbers, is_plausible); odd != numbers->end())
      findings.warn(fmt::format("value {} of {} is {}, which no model needs", odd - numbers->begin(), key, *odd));
  }
  if (const auto strings = array->strings())
    if (std::ranges::any_of(*strings, [](auto text) { return find_invalid_utf8(text) != std::string_view::npos; }))
      findings.warn(fmt::format("{} has strings that are not UTF-8", key));
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte(0); });
}

// The data of one part has to follow the header without gaps, each tensor at the next multiple of the alignment.
void check_part(const GgufPart& part, Findings& findings) {
  constexpr uint64_t kTooFar = UINT64_MAX;
  const std::span<const std::byte> bytes = part.file.bytes();
  const std::string path = printable(part.file.path());
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& tensor : part.header.tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, &TensorInfo::offset);
  uint64_t end = part.header.bytes;
  for (const TensorInfo* tensor : order) {
    const uint64_t expected = checked_align(end, part.header.alignment).value_or(kTooFar);
    if (tensor->offset != expected)
      findings.failed(
          fmt::format("{}: the data of tensor {} begins at byte {} and not at {}: a gap that nothing explains", path,
                      printable(tensor->name), tensor->offset, expected));
    else if (!all_zero(bytes.subspan(end, expected - end)))
      findings.warn(fmt::format("{}: the padding from byte {} to {} is not zero", path, end, expected));
    end = tensor->offset + tensor->bytes;
  }
  const uint64_t last = std::min<uint64_t>(checked_align(end, part.header.alignment).value_or(kTooFar), bytes.size());
  if (!all_zero(bytes.subspan(end, last - end)))
    findings.warn(fmt::format("{}: the padding from byte {} to the end is not zero", path, end));
  if (last < bytes.size())
    findings.warn(fmt::format("{}: {} bytes follow the last tensor that belong to nothing", path, bytes.size() - last));
}

}  // namespace

VerifyCheck check_layout(const std::string& path) {
  Findings findings;
  const auto parts = open_parts(path);
  if (!parts)
    findings.failed(parts.error().message);
  else
    for (const GgufPart& part : *parts) check_part(part, findings);
  return std::move(findings).finish("layout");
}

VerifyCheck check_metadata(const GgufFile& file) {
  Findings findings;
  const auto arch = file.get_string("general.architecture");
  for (const MetadataEntry& entry : file.metadata()) {
    if (!is_known(entry.key, arch ? *arch : std::string_view()))
      findings.warn(fmt::format("the key {} is unknown: of a newer kind of file, or damaged", printable(entry.key)));
    check_value(entry, findings);
  }
  const auto quantised = [](const TensorInfo& tensor) { return format_info(tensor.format).block_elements > 1; };
  const auto version = file.get_unsigned_or("general.quantization_version", 2);
  constexpr const char* kNotTwo =
      "general.quantization_version is not 2, the layout of quantised tensors that is known";
  const bool fits = version && *version == 2;
  if (!fits && (!version || std::ranges::any_of(file.tensors(), quantised)))
    findings.failed(kNotTwo);
  else if (!fits)
    findings.warn(kNotTwo);
  check_vocabulary(file, findings);
  return std::move(findings).finish("metadata");
}

}  // namespace metallic
