// What holds for every plan, over thousands of models, machines and budgets.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "memory/plan_cases.h"

namespace metallic {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int kCases = 200;
#else
constexpr int kCases = 1000;
#endif
constexpr double kRounding = 1 + 1e-9;
constexpr double kSteps = 1 + 1e-4;  // cuts of many slices are looked at in steps, the nearest to the best one by one

void expect_within(const Spending& spending, uint64_t limit) {
  EXPECT_LE(spending.total(), spending.budget);
  EXPECT_LE(spending.budget, limit);
}

// Beside weights: what a plan says that it takes is what it was given to count, each in one place.
void expect_all_counted(const ModelSizes& sizes, const Machine& machine, const Constraints& asked, const Plan& plan) {
  const bool gpu = plan.uses_gpu();
  EXPECT_EQ(plan.gpu.draft, gpu ? asked.draft_bytes : 0);
  EXPECT_EQ(plan.ram.draft, gpu ? 0 : asked.draft_bytes);
  EXPECT_EQ(plan.gpu.context, gpu ? machine.gpu_context_bytes : 0);
  EXPECT_EQ(plan.ram.context, program_bytes());
  EXPECT_EQ(plan.gpu.ring, plan.gpu_ring_bytes);
  EXPECT_EQ(plan.ram.ring, plan.disk_ring_bytes);
  EXPECT_EQ(plan.disk_ring_bytes, reads_disk(plan) ? disk_ring_bytes(sizes) : 0);
  const uint64_t rows = uint64_t(std::max(asked.sequences, std::min(plan.batch_rows, plan.context)));
  const uint64_t activations = sizes.activation_fixed_bytes + rows * sizes.activation_row_bytes;
  EXPECT_TRUE(!gpu || plan.gpu.activations >= activations);
  const bool all_on_gpu =
      std::all_of(plan.places.begin(), plan.places.end(), [](const Placement& p) { return p.gpu == 1; });
  EXPECT_TRUE((all_on_gpu && plan.ram.kv == 0) || plan.ram.activations >= activations);

  const uint64_t page = uint64_t(sizes.page_tokens);
  const auto in_pages = [&](uint64_t tokens) { return (tokens + page - 1) / page * page; };
  uint64_t positions = in_pages(uint64_t(plan.context)) * uint64_t(asked.sequences);
  if (asked.kv_tokens > 0)
    positions = std::min(positions, in_pages(uint64_t(std::max<int64_t>(asked.kv_tokens, plan.context))));
  ASSERT_EQ(plan.kv_on_gpu.size(), size_t(sizes.layers));
  const auto layers_on_gpu = uint64_t(std::count(plan.kv_on_gpu.begin(), plan.kv_on_gpu.end(), true));
  EXPECT_EQ(plan.gpu.kv, layers_on_gpu * positions * sizes.kv_token_bytes);
  EXPECT_EQ(plan.ram.kv, (uint64_t(sizes.layers) - layers_on_gpu) * positions * sizes.kv_token_bytes);
  EXPECT_TRUE(asked.kv_offload != KvOffload::kOff || layers_on_gpu == 0);
  EXPECT_TRUE(!gpu || !asked.kv_with_gpu || asked.kv_offload != KvOffload::kAuto ||
              layers_on_gpu == uint64_t(sizes.layers));
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
    if (random.one_in(4)) asked.context = 0;
    if (machine.has_gpu && random.one_in(4)) asked.gpu_layers = random.whole(0, sizes.layers + 1);
    if (machine.has_gpu && random.one_in(8)) asked.kv_offload = KvOffload::kOn;
    const auto plan = make_plan(sizes, machine, asked);
    if (!plan) {
      EXPECT_EQ(plan.error().code, ErrorCode::kOutOfMemory) << plan.error().message;
      continue;
    }
    ++planned;
    SCOPED_TRACE(seed);
    if (asked.context > 0) {
      EXPECT_EQ(plan->context, asked.context);
    } else {
      EXPECT_LE(plan->context, std::min(asked.longest_context, sizes.context_length));
    }
    expect_within(plan->ram, asked.ram_bytes > 0 ? asked.ram_bytes : machine.ram_bytes);
    expect_within(plan->gpu, asked.gpu_bytes > 0 ? asked.gpu_bytes : machine.gpu_bytes);
    expect_all_counted(sizes, machine, asked, *plan);
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

// -ngl: those layers, the head too where more are asked for, and nothing else; or how many there is room for.
TEST(PlanProperty, LayersThatWereAskedForAreOnTheGpuAndNoOthers) {
  int planned = 0, refused = 0;
  for (int seed = 0; seed < kCases; ++seed) {
    SCOPED_TRACE(seed);
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    Machine machine = random.machine();
    if (!machine.has_gpu) continue;
    machine.ram_bytes = uint64_t{1} << 44;
    Constraints asked = random.constraints();
    asked.gpu_layers = random.whole(0, sizes.layers + 1);
    const auto plan = make_plan(sizes, machine, asked);
    if (plan) {
      ++planned;
      expect_within(plan->gpu, machine.gpu_bytes);
      std::set<int> layers, on_gpu;
      for (size_t i = 0; i < sizes.blocks.size(); ++i) {
        const Block& block = sizes.blocks[i];
        if (block.layer >= 0) layers.insert(block.layer);
        if (block.layer >= 0 && plan->places[i].gpu > 0) on_gpu.insert(block.layer);
      }
      EXPECT_LE(int(on_gpu.size()), asked.gpu_layers);
      if (int(layers.size()) == sizes.layers) {
        EXPECT_EQ(int(on_gpu.size()), std::min(asked.gpu_layers, sizes.layers));
      }
      for (size_t i = 0; i < sizes.blocks.size(); ++i) {
        const Block& block = sizes.blocks[i];
        const bool wanted =
            block.kind == BlockKind::kHead ? asked.gpu_layers > sizes.layers : on_gpu.contains(block.layer);
        EXPECT_EQ(plan->places[i].gpu, wanted ? 1 : 0) << i;
      }
      continue;
    }
    ASSERT_EQ(plan.error().code, ErrorCode::kOutOfMemory) << plan.error().message;
    const size_t named = plan.error().message.find(" would; without -ngl");
    if (named == std::string::npos) continue;  // not even the rest fits
    ++refused;
    const size_t begin = plan.error().message.rfind(' ', named - 1) + 1;
    asked.gpu_layers = std::stoi(plan.error().message.substr(begin, named - begin));
    EXPECT_TRUE(make_plan(sizes, machine, asked)) << plan.error().message;
    ++asked.gpu_layers;
    EXPECT_FALSE(make_plan(sizes, machine, asked)) << plan.error().message;
  }
  EXPECT_GT(planned, kCases / 4);
  EXPECT_GT(refused, kCases / 20);
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

// What a draft model or a longer context takes is taken from the weights: no plan becomes faster by it.
TEST(PlanProperty, MoreOfWhatMustBeThereIsNeverFaster) {
  for (int seed = 0; seed < kCases; ++seed) {
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    const Machine machine = random.machine();
    Constraints asked = random.constraints();
    const auto plan = make_plan(sizes, machine, asked);
    asked.draft_bytes += uint64_t(random.scale(1e6, 1e10));
    const auto with_draft = make_plan(sizes, machine, asked);
    if (!with_draft) continue;
    ASSERT_TRUE(plan) << seed;
    EXPECT_GE(with_draft->request_seconds * kRounding, plan->request_seconds) << seed;
  }
}

// Advice is what planning with the change gives, the best first, and no plan is told that nothing helps where all of
// the model on the GPU or in RAM would.
TEST(PlanProperty, AdviceIsWhatPlanningWithItGives) {
  for (int seed = 0; seed < kCases / 10; ++seed) {
    SCOPED_TRACE(seed);
    RandomCase random{uint64_t(seed)};
    const ModelSizes sizes = random.model();
    const Machine machine = random.machine();
    const Constraints asked = random.constraints();
    const auto plan = make_plan(sizes, machine, asked);
    if (!plan) continue;
    const auto advice = advise(sizes, machine, asked, *plan);
    for (size_t i = 0; i < advice.size(); ++i) {
      EXPECT_GE(advice[i].factor, i + 1 < advice.size() ? advice[i + 1].factor : 1.05);
      EXPECT_FALSE(advice[i].change.empty());
    }
    Machine larger = machine;
    larger.ram_bytes = larger.gpu_bytes = uint64_t{1} << 42;
    if (!machine.has_gpu) larger.gpu_bytes = 0;
    Constraints there = asked;
    there.context = plan->context;
    const auto best = make_plan(sizes, larger, there);
    ASSERT_TRUE(best);
    EXPECT_TRUE(best->request_seconds * 1.06 > plan->request_seconds || !advice.empty());
    for (const Advice& one : advice)
      if (one.change.find("GB more") != std::string::npos) {
        EXPECT_LE(one.factor, plan->request_seconds / best->request_seconds * kRounding);
      }
  }
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
