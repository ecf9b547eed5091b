// How often tokens use each expert of a mixture, as it turns out while a model runs: which ones are worth keeping where
// they are computed with.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "memory/plan.h"

namespace metallic {

// One thread at a time, the backend's. Outlives a plan: the counts go on under the next one.
class ExpertUse {
 public:
  // The experts of a layer, known by the address of one of their arrays; forget() all when they are loaded anew.
  void name(const Weight* experts, int layer, int count);
  void forget_names() { layers_.clear(); }
  // `ids` chose among `experts`, of which those stay that are no streamed weights. Arrays without a name count nothing.
  void count(std::span<const Weight> experts, std::span<const int32_t> ids);

  // Choices so far, and those among them of experts that stayed, since the last restart().
  uint64_t choices() const { return choices_; }
  double hit_rate() const { return choices_ > 0 ? double(hits_) / double(choices_) : 0; }
  void restart() { choices_ = hits_ = 0; }

  // Puts the measured probability that a token uses it into each block of an expert; where little was measured, most of
  // it is what the block had before.
  void tell(std::vector<Block>& blocks) const;

 private:
  struct Layer {
    uint64_t tokens = 0;
    std::vector<uint64_t> uses;  // of each expert
  };
  std::unordered_map<const Weight*, int> layers_;
  std::vector<Layer> counts_;  // by layer
  uint64_t choices_ = 0, hits_ = 0;
};

// Of the uses of experts that are to be expected, those of experts that stay where they are computed with. 1 without
// experts.
double expected_hit_rate(const std::vector<Block>& blocks, const Plan& plan);

}  // namespace metallic
