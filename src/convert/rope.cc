// YaRN: arXiv:2309.00071. LongRoPE: arXiv:2402.13753. Llama 3 scaling: section "RoPE" of the Llama 3.1 model code.
#include "convert/rope.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace metallic::convert {
namespace {

Result<std::optional<double>> optional_number(const JsonObject& object, JsonObject::Keys keys) {
  if (!object.has(keys)) return std::optional<double>();
  METALLIC_ASSIGN(const double value, object.number(keys));
  return std::optional(value);
}

// 0.1 m ln(s) + 1: how much YaRN enlarges attention for a context s times as long.
double yarn_magnitude(double factor, double m) { return factor <= 1 ? 1 : 0.1 * m * std::log(factor) + 1; }

Status write_yarn_keys(const Rope& rope, KeyWriter& keys) {
  const JsonObject& scaling = *rope.scaling;
  keys.text("rope.scaling.type", "yarn");
  METALLIC_ASSIGN(const double factor, scaling.number({"factor"}));
  keys.number("rope.scaling.factor", factor);
  keys.size("rope.scaling.original_context_length", rope.original_context);
  struct Pair {
    const char *from, *to;
  };
  for (const Pair& pair :
       {Pair{"extrapolation_factor", "rope.scaling.yarn_ext_factor"}, Pair{"beta_fast", "rope.scaling.yarn_beta_fast"},
        Pair{"beta_slow", "rope.scaling.yarn_beta_slow"}}) {
    METALLIC_ASSIGN(const std::optional<double> value, optional_number(scaling, {pair.from}));
    if (value) keys.number(pair.to, *value);
  }
  METALLIC_ASSIGN(std::optional<double> attention, optional_number(scaling, {"attention_factor", "attn_factor"}));
  METALLIC_ASSIGN(const double m, scaling.number_or({"mscale"}, 0));
  METALLIC_ASSIGN(const double m_all, scaling.number_or({"mscale_all_dim"}, 0));
  if (!attention && m != 0 && m_all != 0 && m != m_all)
    attention = yarn_magnitude(factor, m) / yarn_magnitude(factor, m_all);
  if (attention) keys.number("rope.scaling.yarn_attn_factor", *attention);
  METALLIC_ASSIGN(const bool truncate, scaling.flag_or({"truncate"}, true));
  if (!truncate) keys.flag("rope.scaling.yarn_truncate", false);
  return {};
}

bool is_long(const Rope& rope) { return rope.type == "longrope" || rope.type == "su"; }

std::vector<float> to_floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

}  // namespace

Result<Rope> read_rope(const JsonObject& config) {
  Rope rope;
  METALLIC_ASSIGN(rope.context, config.size_or({"max_position_embeddings", "n_positions", "n_ctx"}, 0));
  METALLIC_ASSIGN(rope.theta, optional_number(config, {"global_rope_theta", "rope_theta", "rotary_emb_base"}));
  METALLIC_ASSIGN(rope.local_theta,
                  optional_number(config, {"local_rope_theta", "rope_local_base_freq", "swa_rope_theta"}));
  METALLIC_ASSIGN(rope.partial, optional_number(config, {"partial_rotary_factor", "rotary_pct", "rope_pct"}));
  METALLIC_ASSIGN(rope.original_context, config.size_or({"original_max_position_embeddings"}, 0));
  if (config.has({"rope_parameters", "rope_scaling"})) {
    METALLIC_ASSIGN(JsonObject values, config.object({"rope_parameters", "rope_scaling"}));
    if (values.has({"sliding_attention"})) {
      METALLIC_ASSIGN(const JsonObject local, values.object({"sliding_attention"}));
      METALLIC_ASSIGN(const std::optional<double> theta, optional_number(local, {"rope_theta"}));
      if (theta) rope.local_theta = theta;
      METALLIC_ASSIGN(const std::string type, local.text_or({"rope_type", "type"}, "default"));
      if (type != "default")
        return fail(ErrorCode::kUnsupported, "{}: rope scaling '{}' of layers with a window is not supported",
                    config.path(), type);
    }
    if (values.has({"full_attention"})) {
      METALLIC_ASSIGN(values, values.object({"full_attention"}));
    }
    METALLIC_ASSIGN(rope.type, values.text_or({"rope_type", "type"}, "default"));
    METALLIC_ASSIGN(const std::optional<double> theta, optional_number(values, {"rope_theta"}));
    if (theta) rope.theta = theta;
    METALLIC_ASSIGN(const std::optional<double> partial, optional_number(values, {"partial_rotary_factor"}));
    if (partial) rope.partial = partial;
    METALLIC_ASSIGN(rope.original_context, values.size_or({"original_max_position_embeddings"}, rope.original_context));
    rope.scaling = values;
  }
  if (rope.original_context == 0) rope.original_context = rope.context;
  if (rope.partial && !(*rope.partial > 0 && *rope.partial <= 1))
    return fail(ErrorCode::kCorrupt,
                "{}: partial_rotary_factor, the share of a head that rotates, is {}; it must be above 0 and at most 1",
                config.path(), *rope.partial);
  for (const char* known : {"default", "linear", "dynamic", "yarn", "llama3", "longrope", "su"})
    if (rope.type == known) return rope;
  return fail(
      ErrorCode::kUnsupported,
      "{}: rope scaling '{}' is not supported; the known types are: default, linear, dynamic, yarn, llama3, longrope",
      config.path(), rope.type);
}

Status write_rope_keys(const Rope& rope, KeyWriter& keys) {
  if (rope.theta) keys.number("rope.freq_base", *rope.theta);
  if (rope.local_theta) keys.number("rope.freq_base_swa", *rope.local_theta);
  if (rope.type == "yarn") return write_yarn_keys(rope, keys);
  if (rope.type == "linear") {
    METALLIC_ASSIGN(const double factor, rope.scaling->number({"factor"}));
    keys.text("rope.scaling.type", "linear");
    keys.number("rope.scaling.factor", factor);
  }
  if (rope.type == "dynamic") {
    METALLIC_ASSIGN(const double factor, rope.scaling->number({"factor"}));
    keys.number("rope.scaling.dynamic_factor", factor);
    keys.size("rope.scaling.original_context_length", rope.original_context);
  }
  return {};
}

Status add_llama3_factors(const Rope& rope, int64_t head_dim, TensorPlan& plan) {
  if (rope.type != "llama3") return {};
  const JsonObject& scaling = *rope.scaling;
  METALLIC_ASSIGN(const double factor, scaling.number_or({"factor"}, 8));
  METALLIC_ASSIGN(const double low, scaling.number_or({"low_freq_factor"}, 1));
  METALLIC_ASSIGN(const double high, scaling.number_or({"high_freq_factor"}, 4));
  METALLIC_ASSIGN(const double old_context, scaling.number_or({"original_max_position_embeddings"}, 8192));
  if (!(factor > 0) || !(low > 0) || !(high > low) || !(old_context > 0))
    return fail(ErrorCode::kCorrupt,
                "{}: llama3 rope scaling needs factor > 0, 0 < low_freq_factor < high_freq_factor and a positive "
                "original_max_position_embeddings",
                scaling.path());
  std::vector<float> factors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double wavelength = 2 * std::numbers::pi * std::pow(rope.theta.value_or(10000), double(i) / double(head_dim));
    const double smooth = (old_context / wavelength - low) / (high - low);  // 0 and less: slow, 1 and more: fast
    const double share = std::clamp(smooth, 0.0, 1.0);
    factors.push_back(float(1 / ((1 - share) / factor + share)));
  }
  const auto count = int64_t(factors.size());
  return plan.add_values("rope_freqs.weight", {count}, std::move(factors));
}

Status add_long_rope_factors(const Rope& rope, int64_t rope_dims, TensorPlan& plan) {
  if (!is_long(rope)) return {};
  METALLIC_ASSIGN(const std::vector<double> shorter, rope.scaling->numbers({"short_factor"}));
  METALLIC_ASSIGN(const std::vector<double> longer, rope.scaling->numbers({"long_factor"}));
  if (int64_t(shorter.size()) != rope_dims / 2 || longer.size() != shorter.size())
    return fail(ErrorCode::kCorrupt, "{}: {} short and {} long rope factors; {} rotated dimensions need {} of each",
                rope.scaling->path(), shorter.size(), longer.size(), rope_dims, rope_dims / 2);
  METALLIC_TRY(plan.add_values("rope_factors_long.weight", {rope_dims / 2}, to_floats(longer)));
  return plan.add_values("rope_factors_short.weight", {rope_dims / 2}, to_floats(shorter));
}

Status write_long_rope_keys(const Rope& rope, KeyWriter& keys) {
  if (!is_long(rope)) return {};
  const double original = double(rope.original_context), scale = double(rope.context) / original;
  const double usual = scale > 1 ? std::sqrt(1 + std::log(scale) / std::log(original)) : 1.0;
  METALLIC_ASSIGN(const double factor, rope.scaling->number_or({"attention_factor"}, usual));
  keys.number("rope.scaling.attn_factor", factor);
  return {};
}

}  // namespace metallic::convert
