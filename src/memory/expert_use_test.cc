// What is counted of the experts' use, and what a plan is told of it.
#include "memory/expert_use.h"

#include <gtest/gtest.h>

#include "memory/plan_cases.h"

namespace metallic {
namespace {

// A weight that stays has bytes, one that is brought has none.
Weight weight(bool stays) {
  static float value = 0;
  Weight made;
  made.view = TensorView::dense(stays ? &value : nullptr, Format::kF32, {1, 1});
  return made;
}

TEST(ExpertUse, CountsEachLayerAloneAndWhatStays) {
  const std::vector<Weight> first = {weight(true), weight(false), weight(true), weight(false)};
  const std::vector<Weight> second(4, weight(true)), others(4, weight(false));
  ExpertUse use;
  use.name(first.data(), 0, 4);
  use.name(second.data(), 1, 4);
  const std::vector<int32_t> ids = {0, 1, 0, 3, 0, 2};
  use.count(first, ids);
  EXPECT_EQ(use.choices(), 6u);
  EXPECT_NEAR(use.hit_rate(), 4.0 / 6, 1e-9);
  use.count(others, ids);  // without a name
  EXPECT_EQ(use.choices(), 6u);
  use.count(second, ids);
  EXPECT_EQ(use.choices(), 12u);
  EXPECT_NEAR(use.hit_rate(), 10.0 / 12, 1e-9);
  use.restart();
  EXPECT_EQ(use.choices(), 0u);
  EXPECT_EQ(use.hit_rate(), 0);
}

TEST(ExpertUse, TellsAPlanWhichOnesAreWorthKeeping) {
  ModelSizes sizes = test_model(2, 1'000'000, 8'000'000, 8, 2);
  const std::vector<Weight> experts(8, weight(true));
  ExpertUse use;
  std::vector<Block> unchanged = sizes.blocks;
  use.tell(unchanged);
  for (size_t i = 0; i < unchanged.size(); ++i) EXPECT_EQ(unchanged[i].use, sizes.blocks[i].use);
  use.name(experts.data(), 1, 8);
  for (int token = 0; token < 1000; ++token) use.count(experts, std::vector<int32_t>{5, token % 2 == 0 ? 6 : 0});
  use.tell(sizes.blocks);
  double sum = 0;
  for (const Block& block : sizes.blocks) {
    if (block.kind != BlockKind::kExpert) continue;
    if (block.layer == 0) {
      EXPECT_EQ(block.use, 0.25);
    }
    if (block.layer == 0) continue;
    sum += block.use;
    EXPECT_NEAR(block.use, block.expert == 5 ? 1.0 : block.expert == 6 || block.expert == 0 ? 0.5 : 0.0, 0.03);
  }
  EXPECT_NEAR(sum, 2, 1e-6);  // as many as a token uses
}

TEST(ExpertUse, OldFameFades) {
  const std::vector<Weight> experts(4, weight(true));
  ExpertUse use;
  use.name(experts.data(), 0, 4);
  const auto run = [&](int32_t id, int tokens) {
    for (int token = 0; token < tokens; ++token) use.count(experts, std::vector<int32_t>{id});
  };
  run(1, 200'000);
  run(2, 400'000);
  std::vector<Block> blocks = test_model(1, 1000, 4000, 4, 1).blocks;
  use.tell(blocks);
  for (const Block& block : blocks) {
    if (block.kind != BlockKind::kExpert) continue;
    if (block.expert == 2) {
      EXPECT_GT(block.use, 0.8);
    }
    if (block.expert == 1) {
      EXPECT_LT(block.use, 0.2);
    }
  }
}

TEST(ExpertUse, TheExpectedHitRateIsThatOfWhatStays) {
  const ModelSizes sizes = test_model(1, 1'000'000, 4'000'000, 4, 1);
  Plan plan;
  for (const Block& block : sizes.blocks) {
    plan.places.emplace_back();
    if (block.kind == BlockKind::kExpert && block.expert == 3) plan.places.back().place = Place::kDisk;
  }
  EXPECT_NEAR(expected_hit_rate(sizes.blocks, plan), 0.75, 1e-9);
  EXPECT_EQ(expected_hit_rate(test_model(1, 1000, 1000).blocks, plan), 1);
}

}  // namespace
}  // namespace metallic
