#include "engine/samplers/samplers.h"

namespace metallic {

void apply(const Temperature& step, Candidates& candidates, std::span<const TokenId>) {
  for (Candidate& candidate : candidates.list) candidate.logit /= step.temperature;
}

}  // namespace metallic
