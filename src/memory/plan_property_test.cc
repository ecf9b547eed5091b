// What holds for every plan, over thousands of models, machines and budgets.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "memory/plan_cases.h"

namespace metallic {
namespace {

constexpr int kCases = 300;
constexpr double kRounding = 1 + 1e-9;
constexpr double kSteps = 1 + 1e-4;  // cuts of many slices are looked at in steps, the nearest to the best one by one

void expect_within(const Spending& spending, uint64_t limit) {
  EXPECT_LE(spending.total(), spending.budget);
  EXPECT_LE(spending.budget, limit);
}

TEST(PlanProperty, NeverSpendsMoreThanABudgetAndPlacesEveryBlock) {
  int planned = 0;
  for (int seed = 0; seed < kCases; ++seed) {
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    const Machine machine = random.machine();
    Constraints asked = random.constraints();
    if (random.one_in(2)) asked.ram_bytes = uint64_t(random.scale(1e8, 1e11));
    if (random.one_in(2)) asked.gpu_bytes = uint64_t(random.scale(1e8, 1e11));
    const auto plan = make_plan(sizes, machine, asked);
    if (!plan) {
      EXPECT_EQ(plan.error().code, ErrorCode::kOutOfMemory) << plan.error().message;
      continue;
    }
    ++planned;
    SCOPED_TRACE(seed);
    expect_within(plan->ram, asked.ram_bytes > 0 ? asked.ram_bytes : machine.ram_bytes);
    expect_within(plan->gpu, asked.gpu_bytes > 0 ? asked.gpu_bytes : machine.gpu_bytes);
    ASSERT_EQ(plan->places.size(), sizes.blocks.size());
    double gpu = 0, ram = 0;  // counted again from the places
    for (size_t i = 0; i < sizes.blocks.size(); ++i) {
      const Placement& place = plan->places[i];
      const Block& block = sizes.blocks[i];
      gpu += double(place.gpu) * double(block.gpu_bytes);
      const bool twice = plan->gpu_ring_bytes > 0 && block.kind != BlockKind::kEmbedding;
      if (!place.disk) ram += double(1 - place.gpu) * double(block.cpu_bytes + (twice ? block.gpu_bytes : 0));
      EXPECT_GE(place.decode_cpu, 0);
      EXPECT_LE(place.decode_cpu, 1 - place.gpu);
      EXPECT_LE(place.prompt_cpu, 1 - place.gpu);
      EXPECT_EQ(place.place == Place::kDisk, place.disk);
      EXPECT_TRUE(machine.has_gpu || place.gpu == 0);
      EXPECT_TRUE(plan->gpu_ring_bytes > 0 || place.decode_cpu == 1 - place.gpu);
    }
    const double slack = 1e-5 * (gpu + ram) + 64.0 * double(sizes.blocks.size());  // shares are floats
    EXPECT_NEAR(gpu, double(plan->gpu.weights), slack);
    EXPECT_NEAR(ram, double(plan->ram.weights), slack);
    EXPECT_GT(plan->decode.total, 0);
    EXPECT_GT(plan->prompt_seconds, 0);
  }
  EXPECT_GT(planned, kCases / 2);
}

TEST(PlanProperty, IsNeverSlowerThanTheCpuAlone) {
  for (int seed = 0; seed < kCases; ++seed) {
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    const Machine machine = random.machine();
    Constraints asked = random.constraints();
    const auto plan = make_plan(sizes, machine, asked);
    asked.no_gpu = true;
    const auto cpu = make_plan(sizes, machine, asked);
    if (!cpu) continue;
    ASSERT_TRUE(plan) << seed;
    EXPECT_LE(plan->request_seconds, cpu->request_seconds * kRounding) << seed;
  }
}

// More of one thing never predicts a slower request, and what was possible stays possible.
template <class More>
void expect_monotone(const More& more, double tolerance = kRounding) {
  for (int seed = 0; seed < kCases; ++seed) {
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    Machine machine = random.machine();
    Constraints asked = random.constraints();
    asked.ram_bytes = std::min(uint64_t(random.scale(1e8, 1e11)), machine.ram_bytes);
    asked.gpu_bytes = std::min(uint64_t(random.scale(1e8, 1e11)), machine.gpu_bytes);
    if (asked.gpu_bytes == 0) asked.gpu_bytes = 1;
    std::optional<double> before;
    for (int step = 0; step < 5; ++step) {
      const auto plan = make_plan(sizes, machine, asked);
      if (before) {
        ASSERT_TRUE(plan) << seed << ": " << plan.error().message;
        EXPECT_LE(plan->request_seconds, *before * tolerance) << seed << ", step " << step;
      }
      if (plan) before = plan->request_seconds;
      more(machine, asked, random.scale(1.001, 2));
    }
  }
}

TEST(PlanProperty, MoreGpuMemoryIsNeverSlower) {
  expect_monotone([](Machine& machine, Constraints& asked, double factor) {
    asked.gpu_bytes = uint64_t(double(asked.gpu_bytes) * factor);
    machine.gpu_bytes = std::max(machine.gpu_bytes, asked.gpu_bytes);
  });
}

TEST(PlanProperty, MoreRamIsNeverSlower) {
  expect_monotone([](Machine& machine, Constraints& asked, double factor) {
    asked.ram_bytes = uint64_t(double(asked.ram_bytes) * factor);
    machine.ram_bytes = std::max(machine.ram_bytes, asked.ram_bytes);
  });
}

TEST(PlanProperty, AFasterDiskIsNeverSlower) {
  expect_monotone([](Machine& machine, Constraints&, double factor) { machine.disk_rate *= factor; }, kSteps);
}

TEST(PlanProperty, AFasterLinkIsNeverSlower) {
  expect_monotone([](Machine& machine, Constraints&, double factor) { machine.link_rate *= factor; }, kSteps);
}

TEST(PlanProperty, IsTheSameEveryTime) {
  for (int seed = 0; seed < kCases / 10; ++seed) {
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    const Machine machine = random.machine();
    const Constraints asked = random.constraints();
    const auto a = make_plan(sizes, machine, asked), b = make_plan(sizes, machine, asked);
    ASSERT_EQ(bool(a), bool(b));
    if (!a) continue;
    EXPECT_EQ(a->request_seconds, b->request_seconds);
    for (size_t i = 0; i < a->places.size(); ++i) {
      EXPECT_EQ(a->places[i].place, b->places[i].place);
      EXPECT_EQ(a->places[i].gpu, b->places[i].gpu);
      EXPECT_EQ(a->places[i].decode_cpu, b->places[i].decode_cpu);
    }
  }
}

}  // namespace
}  // namespace metallic
