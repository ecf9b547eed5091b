// Repetition penalty (CTRL, arXiv:1909.05858), presence and frequency penalties (OpenAI API).
#include <algorithm>
#include <unordered_map>

#include "engine/samplers/samplers.h"

namespace metallic {

// Runs before anything is removed, so that the candidate of token i is list[i].
void apply(const Penalties& step, Candidates& candidates, std::span<const TokenId> history) {
  const size_t recent = step.window < 0 ? history.size() : std::min(history.size(), size_t(step.window));
  std::unordered_map<TokenId, int> counts;
  for (const TokenId id : history.last(recent)) ++counts[id];
  for (const auto& [id, count] : counts) {
    float& logit = candidates.list[size_t(id)].logit;
    logit = logit > 0 ? logit / step.repeat : logit * step.repeat;
    logit -= float(count) * step.frequency + step.presence;
  }
}

}  // namespace metallic
