#include "engine/plan_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/random_model.h"

namespace metallic {
namespace {

// The plan for a machine whose RAM holds `share` of the way from the file's bytes to those of its panels, and all else
// the model needs.
PlannedModel planned(const char* name, double share, bool repack = true) {
  const auto layout = MemoryFile::of_layout(RandomModelSpec::parse(name).value()).value();
  const GgufFile file = GgufFile::open(layout.path()).value();
  const Config config = read_config(file).value();
  PlanRequest request;
  request.options.backend = "cpu";
  request.options.context = 256;
  request.options.repack = false;
  Machine machine;
  machine.ram_bytes = uint64_t{64} << 30;
  const uint64_t plain = plan_model(file, config, request, machine)->plan.ram.total();
  request.options.repack = true;
  const uint64_t packed = plan_model(file, config, request, machine)->plan.ram.total();
  EXPECT_GT(packed, plain);
  request.options.memory.ram_bytes = plain + uint64_t(share * double(packed - plain));
  request.options.repack = repack;
  return plan_model(file, config, request, machine).value();
}

bool reads_disk(const PlannedModel& model) {
  return std::any_of(model.plan.places.begin(), model.plan.places.end(),
                     [](const Placement& place) { return place.place == Place::kDisk; });
}

TEST(PlanModel, WeightsArePackedWhereTheirPanelsFit) {
  const PlannedModel model = planned("llama3.1-8b:iq2_xxs", 1.5);
  EXPECT_TRUE(model.sizes.packed);
  EXPECT_FALSE(reads_disk(model));
}

TEST(PlanModel, WhereOnlyTheFileFitsItsBytesAreUsedAsTheyAre) {
  const PlannedModel model = planned("llama3.1-8b:iq2_xxs", 0.5);
  EXPECT_FALSE(model.sizes.packed);
  EXPECT_FALSE(reads_disk(model));
}

TEST(PlanModel, WhereNeitherFitsBlocksArePackedAndReadFromDisk) {
  const PlannedModel model = planned("llama3.1-8b:iq2_xxs", -0.3);
  EXPECT_TRUE(model.sizes.packed);
  EXPECT_TRUE(reads_disk(model));
}

TEST(PlanModel, WithoutRepackingNothingIsPacked) {
  EXPECT_FALSE(planned("llama3.1-8b:iq2_xxs", 1.5, false).sizes.packed);
}

}  // namespace
}  // namespace metallic
