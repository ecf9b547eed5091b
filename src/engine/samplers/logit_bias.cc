#include "engine/samplers/samplers.h"

namespace metallic {

// Runs before anything is removed, so that the candidate of token i is list[i].
void apply(const LogitBias& step, Candidates& candidates, std::span<const TokenId>) {
  for (const auto& [id, bias] : step.bias) candidates.list[size_t(id)].logit += bias;
}

}  // namespace metallic
