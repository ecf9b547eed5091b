// Nucleus sampling (arXiv:1904.09751): the smallest set of best tokens whose probabilities sum to at least p; never
// empty.
#include <algorithm>
#include <cmath>

#include "engine/samplers/samplers.h"

namespace metallic {

void apply(const TopP& step, Candidates& candidates, std::span<const TokenId>) {
  std::vector<Candidate>& list = candidates.list;
  const auto best = std::min_element(list.begin(), list.end(), better);
  if (best == list.end()) return;
  const double highest = double(best->logit);
  double total = 0;
  for (const Candidate& candidate : list) total += std::exp(double(candidate.logit) - highest);

  // Without order, candidates come off a heap: few are needed of a large vocabulary.
  const auto worse = [](const Candidate& a, const Candidate& b) { return better(b, a); };
  if (!candidates.sorted) std::make_heap(list.begin(), list.end(), worse);
  std::vector<Candidate> kept;
  double sum = 0;
  for (auto end = list.end(); kept.size() < list.size() && (kept.empty() || sum < double(step.p) * total);) {
    if (candidates.sorted) {
      kept.push_back(list[kept.size()]);
    } else {
      std::pop_heap(list.begin(), end, worse);
      kept.push_back(*--end);
    }
    sum += std::exp(double(kept.back().logit) - highest);
  }
  list = std::move(kept);
  candidates.sorted = true;
}

}  // namespace metallic
