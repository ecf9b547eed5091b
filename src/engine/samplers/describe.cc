// A chain of samplers as the data that a backend understands (backend/sampling.h).
#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_set>

#include "backend/random.h"
#include "engine/samplers/samplers.h"

namespace metallic {
namespace {

// One step into the row. False if the row has no words for it.
struct Describe {
  SampleRow& row;
  std::vector<LogitChange>& changes;
  std::span<const TokenId> history;

  // A second bias of one token would be added after the first, which rounds twice.
  bool operator()(const LogitBias& step) const {
    std::unordered_set<TokenId> seen;
    for (const auto& [id, bias] : step.bias) {
      if (!seen.insert(id).second) return false;
      changes.push_back({id, bias, 0, 0});
    }
    return true;
  }
  bool operator()(const Penalties& step) const {
    const size_t recent = step.window < 0 ? history.size() : std::min(history.size(), size_t(step.window));
    std::vector<TokenId> ids(std::prev(history.end(), ptrdiff_t(recent)), history.end());
    std::sort(ids.begin(), ids.end());
    std::sort(changes.begin(), changes.end(), [](const LogitChange& a, const LogitChange& b) { return a.id < b.id; });
    const size_t biased = changes.size();
    size_t at = 0;
    for (size_t i = 0, end; i < ids.size(); i = end) {
      for (end = i + 1; end < ids.size() && ids[end] == ids[i];) ++end;
      while (at < biased && changes[at].id < ids[i]) ++at;
      if (at < biased && changes[at].id == ids[i])
        changes[at].count = int32_t(end - i);
      else
        changes.push_back({ids[i], 0, int32_t(end - i), 0});
    }
    row.repeat = step.repeat;
    row.frequency = step.frequency;
    row.presence = step.presence;
    return true;
  }
  bool operator()(const TopK& step) const {
    row.top_k = step.k;
    return true;
  }
  bool operator()(const TopP& step) const {
    row.top_p = step.p;
    return true;
  }
  bool operator()(const MinP& step) const {
    row.log_min_p = std::log(step.p);
    return row.log_min_p < 0;
  }
  bool operator()(const Temperature& step) const {
    row.temperature = step.temperature;
    return true;
  }
};

}  // namespace

SampleRow Sampler::describe(std::span<const TokenId> history, int ahead) {
  SampleRow row;
  changes_.clear();
  row.temperature = greedy_ ? 0.0f : 1.0f;
  const Describe describe{row, changes_, history};
  for (const SamplerStep& step : chain_) row.on_host = row.on_host || !std::visit(describe, step);
  row.changes = changes_;
  row.unit = greedy_ ? 0.0 : next_unit(ahead);
  return row;
}

bool Sampler::ignores_history() const {
  return std::none_of(chain_.begin(), chain_.end(),
                      [](const SamplerStep& step) { return std::holds_alternative<Penalties>(step); });
}

double Sampler::next_unit(int ahead) const {
  return double(split_mix(split_mix(seed_) ^ (drawn_ + uint64_t(ahead))) >> 11) * 0x1p-53;
}

}  // namespace metallic
