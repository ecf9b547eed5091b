// Min-p (arXiv:2407.01082): tokens whose probability is at least p times that of the best.
#include <algorithm>
#include <cmath>

#include "engine/samplers/samplers.h"

namespace metallic {

void apply(const MinP& step, Candidates& candidates, std::span<const TokenId>) {
  std::vector<Candidate>& list = candidates.list;
  const auto best = std::min_element(list.begin(), list.end(), better);
  if (best == list.end()) return;
  const float lowest = best->logit + std::log(step.p);
  std::erase_if(list, [lowest, keep = best->id](const Candidate& c) { return c.logit < lowest && c.id != keep; });
}

}  // namespace metallic
