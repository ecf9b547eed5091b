#include <algorithm>

#include "engine/samplers/samplers.h"

namespace metallic {

void apply(const TopK& step, Candidates& candidates, std::span<const TokenId>) {
  std::vector<Candidate>& list = candidates.list;
  const size_t keep = std::min(list.size(), size_t(step.k));
  if (!candidates.sorted) std::partial_sort(list.begin(), list.begin() + ptrdiff_t(keep), list.end(), better);
  candidates.sorted = true;
  list.resize(keep);
}

}  // namespace metallic
