#include "memory/expert_use.h"

#include <algorithm>

#include "memory/residency.h"

namespace metallic {
namespace {

constexpr double kPriorTokens = 32;        // what was assumed counts as much as so many tokens
constexpr uint64_t kTokensOfFame = 16384;  // after so many a use counts half

}  // namespace

void ExpertUse::name(const Weight* experts, int layer, int count) {
  layers_[experts] = layer;
  if (counts_.size() <= size_t(layer)) counts_.resize(size_t(layer) + 1);
  counts_[size_t(layer)].uses.resize(size_t(count));
}

void ExpertUse::count(std::span<const Weight> experts, std::span<const int32_t> ids) {
  const auto found = layers_.find(experts.data());
  if (found == layers_.end() || ids.empty()) return;
  Layer& layer = counts_[size_t(found->second)];
  for (const int32_t id : ids) {
    ++layer.uses[size_t(id)];
    hits_ += is_streamed(experts[size_t(id)]) ? 0 : 1;
  }
  choices_ += ids.size();
  // Each token makes as many choices; how many, tell() need not know.
  layer.tokens += ids.size();
  if (layer.tokens < kTokensOfFame * 8) return;
  layer.tokens /= 2;
  for (uint64_t& uses : layer.uses) uses /= 2;
}

void ExpertUse::tell(std::vector<Block>& blocks) const {
  // The sum of a layer's probabilities is the number of experts that a token uses.
  std::vector<double> sums;
  for (const Block& block : blocks) {
    if (block.kind != BlockKind::kExpert) continue;
    sums.resize(std::max(sums.size(), size_t(block.layer) + 1));
    sums[size_t(block.layer)] += block.use;
  }
  for (Block& block : blocks) {
    if (block.kind != BlockKind::kExpert || size_t(block.layer) >= counts_.size()) continue;
    const Layer& layer = counts_[size_t(block.layer)];
    if (size_t(block.expert) >= layer.uses.size() || layer.tokens == 0) continue;
    const double used = sums[size_t(block.layer)], tokens = double(layer.tokens) / used;
    const double measured = double(layer.uses[size_t(block.expert)]);
    block.use = std::min(1.0, (measured + kPriorTokens * block.use) / (tokens + kPriorTokens));
  }
}

double expected_hit_rate(const std::vector<Block>& blocks, const Plan& plan) {
  double all = 0, hits = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].kind != BlockKind::kExpert) continue;
    all += blocks[i].use;
    if (plan.places[i].place == (plan.uses_gpu() ? Place::kGpu : Place::kCpu)) hits += blocks[i].use;
  }
  return all > 0 ? hits / all : 1;
}

}  // namespace metallic
