#include "engine/samplers/samplers.h"

#include <algorithm>
#include <cmath>

#include "backend/random.h"
#include "base/error.h"

namespace metallic {
namespace {

Status check_range(const char* name, double value, double lowest, double highest) {
  if (value >= lowest && value <= highest) return {};
  return fail(ErrorCode::kInvalidArgument, "{} is {}; it must be from {} to {}", name, value, lowest, highest);
}

Status check_options(const SamplingOptions& options, int vocab) {
  METALLIC_TRY(check_range("temperature", options.temperature, 0, 1000));
  METALLIC_TRY(check_range("top-k", options.top_k, 0, INT32_MAX));
  METALLIC_TRY(check_range("top-p", options.top_p, 0, 1));
  METALLIC_TRY(check_range("min-p", options.min_p, 0, 1));
  METALLIC_TRY(check_range("repeat-penalty", options.repeat_penalty, 1e-3, 1000));
  METALLIC_TRY(check_range("presence-penalty", options.presence_penalty, -1000, 1000));
  METALLIC_TRY(check_range("frequency-penalty", options.frequency_penalty, -1000, 1000));
  METALLIC_TRY(check_range("repeat-last-n", options.penalty_window, -1, INT32_MAX));
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocab)
      return fail(ErrorCode::kOutOfRange, "logit-bias: token {} is outside the vocabulary of {}", id, vocab);
    if (std::isnan(bias) || bias == INFINITY)
      return fail(ErrorCode::kInvalidArgument, "logit-bias: {} for token {} is no usable number", bias, id);
  }
  return {};
}

}  // namespace

Result<std::vector<SamplerStep>> sampler_chain(const SamplingOptions& options, int vocab) {
  METALLIC_TRY(check_options(options, vocab));
  std::vector<SamplerStep> chain;
  if (!options.logit_bias.empty()) chain.push_back(LogitBias{options.logit_bias});
  if (options.penalty_window != 0 &&
      (options.repeat_penalty != 1 || options.presence_penalty != 0 || options.frequency_penalty != 0))
    chain.push_back(
        Penalties{options.repeat_penalty, options.presence_penalty, options.frequency_penalty, options.penalty_window});
  if (options.temperature == 0) return chain;  // what follows never changes which token is best
  if (options.top_k > 0 && options.top_k < vocab) chain.push_back(TopK{options.top_k});
  if (options.top_p < 1) chain.push_back(TopP{options.top_p});
  if (options.min_p > 0) chain.push_back(MinP{options.min_p});
  if (options.temperature != 1) chain.push_back(Temperature{options.temperature});
  return chain;
}

Result<Sampler> Sampler::create(const SamplingOptions& options, int vocab) {
  Sampler sampler;
  METALLIC_ASSIGN(sampler.chain_, sampler_chain(options, vocab));
  sampler.greedy_ = options.temperature == 0;
  sampler.seed_ = options.seed;
  return sampler;
}

Result<TokenId> Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  const auto no_number = [] {
    return fail(ErrorCode::kInternal,
                "the model gave no usable logits (NaN or infinity): its weights or scales are damaged or overflow; "
                "metallic verify says which");
  };
  std::vector<Candidate>& list = candidates_.list;
  list.resize(logits.size());
  candidates_.sorted = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == INFINITY) return no_number();
    list[i] = {TokenId(i), logits[i]};
  }
  for (const SamplerStep& step : chain_) std::visit([&](const auto& s) { apply(s, candidates_, history); }, step);

  const auto best = candidates_.sorted ? list.begin() : std::min_element(list.begin(), list.end(), better);
  if (best == list.end() || best->logit == -INFINITY) return no_number();
  if (greedy_) return best->id;

  double sum = 0;
  for (const Candidate& candidate : list) sum += std::exp(double(candidate.logit) - double(best->logit));
  double left = next_unit() * sum;
  ++drawn_;
  for (const Candidate& candidate : list) {
    left -= std::exp(double(candidate.logit) - double(best->logit));
    if (left < 0) return candidate.id;
  }
  return best->id;  // rounding left a crumb
}

}  // namespace metallic
