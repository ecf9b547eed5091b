#include "model/quantize_mix.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "base/printable.h"

namespace metallic {
namespace {

constexpr QuantizeType kTypes[] = {
    {FileType::kF32, "F32", Format::kF32},
    {FileType::kF16, "F16", Format::kF16},
    {FileType::kBF16, "BF16", Format::kBF16},
    {FileType::kQ8_0, "Q8_0", Format::kQ8_0},
    {FileType::kQ6_K, "Q6_K", Format::kQ6_K},
    {FileType::kQ5_1, "Q5_1", Format::kQ5_1},
    {FileType::kQ5_K_M, "Q5_K_M", Format::kQ5_K},
    {FileType::kQ5_K_S, "Q5_K_S", Format::kQ5_K},
    {FileType::kQ5_0, "Q5_0", Format::kQ5_0},
    {FileType::kQ4_1, "Q4_1", Format::kQ4_1},
    {FileType::kQ4_K_M, "Q4_K_M", Format::kQ4_K},
    {FileType::kQ4_K_S, "Q4_K_S", Format::kQ4_K},
    {FileType::kQ4_0, "Q4_0", Format::kQ4_0},
    {FileType::kNVFP4, "NVFP4", Format::kNVFP4},
    {FileType::kIQ4_NL, "IQ4_NL", Format::kIQ4_NL},
    {FileType::kIQ4_XS, "IQ4_XS", Format::kIQ4_XS},
    {FileType::kMXFP4_MOE, "MXFP4_MOE", Format::kMXFP4},
    {FileType::kMXFP4_MOE, "MXFP4", Format::kMXFP4},
    {FileType::kQ3_K_L, "Q3_K_L", Format::kQ3_K},
    {FileType::kQ3_K_M, "Q3_K_M", Format::kQ3_K},
    {FileType::kIQ3_M, "IQ3_M", Format::kIQ3_S},
    {FileType::kIQ3_S, "IQ3_S", Format::kIQ3_S},
    {FileType::kQ3_K_S, "Q3_K_S", Format::kQ3_K},
    {FileType::kIQ3_XS, "IQ3_XS", Format::kIQ3_S},
    {FileType::kIQ3_XXS, "IQ3_XXS", Format::kIQ3_XXS},
    {FileType::kQ2_K, "Q2_K", Format::kQ2_K},
    {FileType::kQ2_K_S, "Q2_K_S", Format::kQ2_K},
    {FileType::kIQ2_M, "IQ2_M", Format::kIQ2_S},
    {FileType::kIQ2_S, "IQ2_S", Format::kIQ2_XS},
    {FileType::kIQ2_XS, "IQ2_XS", Format::kIQ2_XS},
    {FileType::kIQ2_XXS, "IQ2_XXS", Format::kIQ2_XXS},
    {FileType::kTQ2_0, "TQ2_0", Format::kTQ2_0},
    {FileType::kIQ1_M, "IQ1_M", Format::kIQ1_M},
    {FileType::kTQ1_0, "TQ1_0", Format::kTQ1_0},
    {FileType::kIQ1_S, "IQ1_S", Format::kIQ1_S},
    {FileType::kQ1_0, "Q1_0", Format::kQ1_0},
};

bool is_one_of(FileType type, std::initializer_list<FileType> types) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

bool has_part(std::string_view name, std::string_view part) { return name.find(part) != std::string_view::npos; }

// N of a name blk.N.…; -1 for other names.
int layer_of(std::string_view name) {
  if (!name.starts_with("blk.")) return -1;
  int layer = -1;
  std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

// The first and last eighth of the layers, and every third between: where more bits help most.
bool deserves_more(int index, int count) {
  const int eighth = count / 8;
  return index < eighth || index >= 7 * count / 8 || (index - eighth) % 3 == 2;
}

// One tensor under one type. Each function gives the format for a role of tensors, and the comments in docs/quantize.md
// the whole as a table.
struct Mix {
  const QuantizeType& type;
  const MixFacts& facts;
  std::string_view name;
  int layer;

  bool is(std::initializer_list<FileType> types) const { return is_one_of(type.id, types); }
  bool tiny() const {  // below 3 bits, with a codebook
    return is({FileType::kIQ1_S, FileType::kIQ1_M, FileType::kIQ2_XXS, FileType::kIQ2_XS, FileType::kIQ2_S,
               FileType::kIQ2_M});
  }
  bool shares_kv() const { return facts.heads_per_kv_head >= 4; }
  bool early(int parts) const { return layer < facts.layers / parts; }

  Format head() const {
    if (type.id == FileType::kMXFP4_MOE || type.format == Format::kQ8_0) return Format::kQ8_0;
    if (tiny() || is({FileType::kIQ3_XXS})) return Format::kQ5_K;
    return Format::kQ6_K;
  }

  Format embedding() const {
    if (is({FileType::kIQ1_S, FileType::kIQ1_M, FileType::kIQ2_XXS, FileType::kIQ2_XS})) return Format::kQ2_K;
    if (is({FileType::kIQ2_S, FileType::kIQ2_M, FileType::kIQ3_XXS})) return Format::kIQ3_S;
    if (is({FileType::kTQ1_0, FileType::kTQ2_0})) return Format::kQ4_K;
    return type.format;
  }

  Format tiny_format() const {
    const bool two_bits = is({FileType::kIQ2_S, FileType::kIQ2_M});
    if (has_part(name, "attn_v.weight")) {
      if (shares_kv() || facts.experts >= 4) return Format::kQ4_K;
      return two_bits ? Format::kIQ3_S : Format::kQ2_K;
    }
    if (has_part(name, "attn_k.weight") && facts.experts == 8) return Format::kQ4_K;
    if (has_part(name, "ffn_down") && early(8)) return two_bits ? Format::kIQ3_S : Format::kQ2_K;
    if (has_part(name, "attn_output.weight")) {
      if (facts.experts == 8) return Format::kQ5_K;
      if (is({FileType::kIQ1_S, FileType::kIQ1_M})) return Format::kIQ2_XXS;
      if (two_bits) return Format::kIQ3_S;
    }
    return type.format;
  }

  Format value() const {
    if (facts.experts == 8) return Format::kQ8_0;
    const auto& layers = facts.attention_layers;
    const int index = int(std::lower_bound(layers.begin(), layers.end(), layer) - layers.begin());
    Format format = type.format;
    if (is({FileType::kQ2_K}))
      format = shares_kv() ? Format::kQ4_K : Format::kQ3_K;
    else if (is({FileType::kQ2_K_S, FileType::kIQ3_XS, FileType::kIQ3_S}) && shares_kv())
      format = Format::kQ4_K;
    else if (is({FileType::kIQ3_XXS}))
      format = shares_kv() ? Format::kQ4_K : facts.has_importance ? Format::kIQ3_XXS : Format::kIQ3_S;
    else if (is({FileType::kIQ3_M}))
      format = Format::kQ4_K;
    else if (is({FileType::kQ3_K_M}))
      format = index < 2 ? Format::kQ5_K : Format::kQ4_K;
    else if (is({FileType::kQ3_K_L}))
      format = Format::kQ5_K;
    else if (is({FileType::kIQ4_NL, FileType::kIQ4_XS}) && shares_kv())
      format = Format::kQ5_K;
    else if (is({FileType::kQ4_K_M, FileType::kQ5_K_M}) && deserves_more(index, int(layers.size())))
      format = Format::kQ6_K;
    else if (is({FileType::kQ4_K_S}) && index < 4)
      format = Format::kQ5_K;
    // Where 8 heads share it the matrix is small, and more bits cost next to nothing.
    const bool large = facts.layers == 80 && facts.heads_per_kv_head == 8;
    if (large && (format == Format::kQ3_K || format == Format::kQ4_K)) return Format::kQ5_K;
    return format;
  }

  Format key() const {
    if (facts.experts == 8) return Format::kQ8_0;
    return query();
  }

  Format query() const {
    if (is({FileType::kIQ3_XS})) return Format::kIQ3_XXS;
    if (is({FileType::kIQ3_XXS})) return Format::kIQ2_S;
    return type.format;
  }

  Format down() const {
    const bool more = deserves_more(layer, facts.layers);
    switch (type.id) {
      case FileType::kQ2_K:
        return Format::kQ3_K;
      case FileType::kQ2_K_S:
        return early(8) ? Format::kQ4_K : type.format;
      case FileType::kIQ3_XXS:
        if (facts.has_importance) return type.format;
        return early(8) ? Format::kQ4_K : Format::kQ3_K;
      case FileType::kQ3_K_M:
        return early(16) ? Format::kQ5_K : Format::kQ4_K;
      case FileType::kIQ3_M:
        return early(8) || (facts.experts == 8 && more) ? Format::kQ4_K : type.format;
      case FileType::kQ3_K_L:
        return Format::kQ5_K;
      case FileType::kQ4_K_M:
      case FileType::kQ5_K_M:
        return more ? Format::kQ6_K : type.format;
      case FileType::kIQ4_NL:
      case FileType::kIQ4_XS:
        return early(8) && !facts.has_importance ? Format::kQ5_K : type.format;
      case FileType::kQ4_K_S:
        return early(8) ? Format::kQ5_K : type.format;
      case FileType::kQ4_0:
        return early(8) && facts.has_importance ? Format::kQ4_1 : type.format;
      case FileType::kQ5_0:
        return early(8) && facts.has_importance ? Format::kQ5_1 : type.format;
      default:
        return type.format;
    }
  }

  Format attention_output() const {
    if (facts.experts == 8) {
      const bool small = is({FileType::kQ2_K, FileType::kIQ3_XS, FileType::kIQ3_XXS, FileType::kQ3_K_S,
                             FileType::kQ3_K_M, FileType::kIQ4_NL, FileType::kQ4_K_S, FileType::kQ4_K_M,
                             FileType::kIQ3_S, FileType::kIQ3_M, FileType::kIQ4_XS});
      return small ? Format::kQ5_K : type.format;
    }
    if (is({FileType::kQ2_K})) return Format::kQ3_K;
    if (is({FileType::kIQ3_XXS})) return Format::kIQ3_S;
    if (is({FileType::kQ3_K_M, FileType::kIQ3_M})) return Format::kQ4_K;
    if (is({FileType::kQ3_K_L})) return Format::kQ5_K;
    return type.format;
  }

  Format fused_attention() const {
    if (is({FileType::kQ3_K_M, FileType::kQ3_K_L, FileType::kIQ3_M})) return Format::kQ4_K;
    if (is({FileType::kQ4_K_M})) return Format::kQ5_K;
    if (is({FileType::kQ5_K_M})) return Format::kQ6_K;
    return type.format;
  }

  Format gate_or_up() const {
    const bool middle = layer >= facts.layers / 8 && layer < 7 * facts.layers / 8;
    return is({FileType::kIQ3_XS}) && middle ? Format::kIQ3_XXS : type.format;
  }
};

bool is_float(Format format) { return format_info(format).block_elements == 1; }

}  // namespace

std::span<const QuantizeType> quantize_types() { return kTypes; }

Result<QuantizeType> find_quantize_type(std::string_view name) {
  std::string wanted(name);
  for (char& c : wanted) c = c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
  for (const char* middle : {"Q3_K", "Q4_K", "Q5_K"})
    if (wanted == middle) wanted = fmt::format("{}_M", middle);
  std::string known;
  for (const QuantizeType& type : kTypes) {
    if (wanted == type.name) return type;
    known += ' ';
    known += type.name;
  }
  return fail(ErrorCode::kInvalidArgument, "'{}' is no type to quantise to; known are, from large to small:{}",
              printable(name), known);
}

Result<MixFacts> MixFacts::of(const GgufFile& file) {
  MixFacts facts;
  METALLIC_ASSIGN(const std::string_view architecture, file.get_string_or("general.architecture", ""));
  // The number, or the largest of an array with one for each layer; `fallback` if there is none.
  const auto count = [&](const char* key, int fallback) {
    const MetadataValue* const value = file.find(std::string(architecture) + key);
    if (value == nullptr) return fallback;
    if (const auto number = value->as_unsigned()) return int(std::min<uint64_t>(*number, 1 << 30));
    if (value->as_array() == nullptr) return fallback;
    const auto numbers = value->as_array()->integers();
    if (!numbers || numbers->empty()) return fallback;
    return int(std::clamp<int64_t>(*std::max_element(numbers->begin(), numbers->end()), 0, 1 << 30));
  };
  facts.layers = count(".block_count", 0);
  facts.experts = count(".expert_count", 0);
  const int heads = count(".attention.head_count", 1);
  facts.heads_per_kv_head = heads / std::max(1, count(".attention.head_count_kv", heads));
  facts.has_output = file.find_tensor("output.weight") != nullptr;
  for (const TensorInfo& tensor : file.tensors())
    for (const char* part : {"attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"})
      if (has_part(tensor.name, part)) facts.attention_layers.push_back(layer_of(tensor.name));
  std::sort(facts.attention_layers.begin(), facts.attention_layers.end());
  return facts;
}

bool is_quantized(const TensorInfo& tensor) {
  const std::string_view name = tensor.name;
  if (!name.ends_with("weight") || tensor.rank < 2) return false;
  if (tensor.format == Format::kF64 || (tensor.format >= Format::kI8 && tensor.format <= Format::kI64)) return false;
  constexpr std::string_view kKept[] = {"_norm.weight",
                                        "ffn_gate_inp",
                                        "altup",
                                        "laurel",
                                        "per_layer_model_proj",
                                        "ssm_conv1d.weight",
                                        "shortconv.conv",
                                        "time_mix_first",
                                        "time_mix_w0",
                                        "time_mix_w1",
                                        "time_mix_w2",
                                        "time_mix_v0",
                                        "time_mix_v1",
                                        "time_mix_v2",
                                        "time_mix_a0",
                                        "time_mix_a1",
                                        "time_mix_a2",
                                        "time_mix_g1",
                                        "time_mix_g2",
                                        "time_mix_decay_w1",
                                        "time_mix_decay_w2",
                                        "time_mix_lerp_fused",
                                        "attn_rel_b.weight"};
  for (const std::string_view part : kKept)
    if (has_part(name, part)) return false;
  return name != "position_embd.weight" && name != "token_types.weight";
}

Format mix_format(const QuantizeType& type, const MixFacts& facts, const TensorInfo& tensor) {
  if (is_float(type.format)) return type.format;
  const std::string_view name = tensor.name;
  const Mix mix{type, facts, name, layer_of(name)};
  const bool is_embedding = name == "token_embd.weight" || name == "per_layer_token_embd.weight";
  if (name == "output.weight" || (name == "token_embd.weight" && !facts.has_output)) return mix.head();
  if (std::string_view(type.name) == "MXFP4_MOE")  // the experts only
    return tensor.size[2] > 1 ? Format::kMXFP4 : Format::kQ8_0;
  if (is_embedding) return mix.embedding();
  if (mix.tiny()) return mix.tiny_format();
  if (has_part(name, "attn_v.weight")) return mix.value();
  if (has_part(name, "attn_k.weight")) return mix.key();
  if (has_part(name, "attn_q.weight")) return mix.query();
  if (has_part(name, "ffn_down")) return mix.down();
  if (has_part(name, "attn_output.weight")) return mix.attention_output();
  if (has_part(name, "attn_qkv.weight")) return mix.fused_attention();
  if (has_part(name, "ffn_gate") || has_part(name, "ffn_up")) return mix.gate_or_up();
  return type.format;
}

Format fitting_format(Format format, uint64_t columns) {
  const auto fits = [&](Format each) { return columns % uint64_t(format_info(each).block_elements) == 0; };
  if (fits(format)) return format;
  Format other = Format::kF16;
  switch (format) {
    case Format::kTQ1_0:
    case Format::kTQ2_0:
    case Format::kNVFP4:
    case Format::kQ1_0:
      other = Format::kQ4_0;
      break;
    case Format::kQ4_K:
      other = Format::kQ5_0;
      break;
    case Format::kQ5_K:
      other = Format::kQ5_1;
      break;
    case Format::kQ6_K:
      other = Format::kQ8_0;
      break;
    default:
      if (format_info(format).block_elements == 256) other = Format::kIQ4_NL;
  }
  return fits(other) ? other : Format::kF16;
}

bool needs_importance(const QuantizeType& type, Format format, std::string_view tensor) {
  switch (format) {
    case Format::kIQ2_XXS:
    case Format::kIQ2_XS:
    case Format::kIQ2_S:
    case Format::kIQ1_S:
      return true;
    case Format::kIQ1_M:
      return tensor != "token_embd.weight" && tensor != "output.weight";
    case Format::kQ2_K:
      return type.id == FileType::kQ2_K_S && tensor != "token_embd.weight";
    default:
      return false;
  }
}

}  // namespace metallic
