// Weights that come from disk for each step: the bits of the resident run whatever the plan, in no more memory than the
// plan says, and whatever the disk does.
#include "memory/residency.h"

#include <sys/types.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "backend/backend.h"
#include "backend/test_support.h"
#include "engine/evaluator.h"
#include "memory/faulty_reader.h"
#include "model/random_model.h"
#include "support/evaluate.h"
#include "support/golden.h"
#include "support/plans.h"
#include "support/resident_memory.h"
#include "support/soak.h"

namespace metallic {
namespace {

using testing::FaultyReader;
using testing::model_path;

Plan plan_of(size_t blocks, uint64_t ring, const std::function<bool()>& on_disk) {
  Plan plan;
  plan.places.resize(blocks);
  for (Placement& place : plan.places) place.place = on_disk() ? Place::kDisk : Place::kCpu;
  plan.disk_ring_bytes = ring;
  return plan;
}

Result<std::shared_ptr<const Model>> load(const std::string& path, const std::string& backend, uint64_t ring,
                                          const std::function<bool()>& on_disk,
                                          const ReaderFactory& reader = make_file_reader) {
  auto file = GgufFile::open(path);
  if (!file) return tl::unexpected<Error>(file.error());
  const auto shared = std::make_shared<const GgufFile>(std::move(*file));
  const std::vector<Block> blocks = testing::blocks_of(*shared);
  return Model::load(shared, *open_backend(backend, 1), blocks, plan_of(blocks.size(), ring, on_disk), reader);
}

std::unique_ptr<Evaluator> evaluator(const std::shared_ptr<const Model>& model, size_t tokens) {
  auto result = Evaluator::create(model, int(tokens), int(tokens), Format::kF32);
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? std::move(*result) : nullptr;
}

using testing::outputs;

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_same_bits_for_any_plan(const std::string& path, const std::string& backend, std::span<const TokenId> tokens,
                                   size_t chunk) {
  const auto resident = Model::load(path, *open_backend(backend, 1));
  ASSERT_TRUE(resident) << resident.error().message;
  const auto expected = outputs(*evaluator(*resident, tokens.size()), tokens, tokens.size());
  ASSERT_TRUE(expected) << expected.error().message;
  for (uint32_t seed = 0; seed < 6; ++seed) {
    std::mt19937 random(seed);
    const uint32_t share = seed == 0 ? 4 : 1 + random() % 3;                   // of 4 go to disk; first of all, all
    const uint64_t ring = seed % 2 == 0 ? 20480 : 20480 + random() % 100'000;  // one expert and one piece
    SCOPED_TRACE("plan " + std::to_string(seed) + ", a ring of " + std::to_string(ring));
    const auto model = load(path, backend, ring, [&] { return random() % 4 < share; });
    ASSERT_TRUE(model) << model.error().message;
    const auto on = evaluator(*model, tokens.size());
    for (int round = 0; round < 2; ++round) {
      const auto got = outputs(*on, tokens, round == 0 ? tokens.size() : chunk);
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_TRUE(same_bits(*got, *expected)) << "round " << round;
    }
  }
}

class AnyPlan : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(AnyPlan, GivesTheBitsOfTheResidentRun) {
  const auto [backend, name] = GetParam();
  const auto tokens = testing::read_array<int32_t>(model_path(std::string(name) + ".tokens.npy"));
  expect_same_bits_for_any_plan(model_path(std::string(name) + ".gguf"), backend,
                                std::span(tokens).first(std::min<size_t>(tokens.size(), 24)), 5);
}
INSTANTIATE_TEST_SUITE_P(, AnyPlan,
                         ::testing::Combine(::testing::Values("cpu", "cpu-f32", "reference"),
                                            ::testing::Values("llama-tied", "llama-bias", "qwen2", "gemma3")),
                         [](const auto& test) {
                           std::string name = std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Mixtures, latent attention, fused projections, an encoder.
class AnyPlanOfAnArchitecture : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyPlanOfAnArchitecture, GivesTheBitsOfTheResidentRun) {
  const testing::ConvertedModel model(GetParam());
  ASSERT_EQ(model.problem(), "");
  const auto tokens = testing::read_array<int32_t>((model.folder() / "tokens.npy").string());
  const size_t count = std::min<size_t>(tokens.size(), 16);
  const bool encoder = std::filesystem::exists(model.folder() / "hidden.npy");
  expect_same_bits_for_any_plan(model.path(), "cpu", std::span(tokens).first(count), encoder ? count : 3);
}
INSTANTIATE_TEST_SUITE_P(, AnyPlanOfAnArchitecture,
                         ::testing::Values("mixtral", "qwen2moe", "deepseek2-lite", "gpt-oss", "phi3", "bert"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// At whichever read it happens: an error that says so, and then everything works as before.
TEST(Streaming, AFailedReadEndsAStepAndTheNextOneWorks) {
  const std::string path = model_path("llama-tied.gguf");
  const std::vector<TokenId> tokens = {1, 5, 9, 2};
  const auto resident = Model::load(path, *open_backend("cpu", 1));
  ASSERT_TRUE(resident);
  const auto expected = outputs(*evaluator(*resident, 4), tokens, 4);
  int failed = 0;
  for (int64_t at = 0; at < 80; at += 3) {
    SCOPED_TRACE(at);
    auto faults = std::make_shared<FaultyReader::Faults>();
    const auto model = load(
        path, "cpu", 16384, [] { return true; },
        [&] { return std::make_unique<FaultyReader>(make_file_reader(), faults); });
    ASSERT_TRUE(model);
    const auto on = evaluator(*model, 4);
    faults->fail_at = at;
    const auto broken = outputs(*on, tokens, 1);
    if (!broken) {
      ++failed;
      EXPECT_EQ(broken.error().code, ErrorCode::kIo);
      EXPECT_NE(broken.error().message.find("llama-tied.gguf: reading"), std::string::npos) << broken.error().message;
    }
    faults->fail_at = -1;
    const auto again = outputs(*on, tokens, 4);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_TRUE(same_bits(*again, *expected));
  }
  EXPECT_GT(failed, 10);
}

TEST(Streaming, ARingThatHoldsNoPieceIsRefusedAtLoad) {
  const auto model = load(model_path("llama-tied.gguf"), "cpu", 4096, [] { return true; });
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(model.error().message.find("a ring of 4096 bytes cannot hold the largest piece, of 8192"),
            std::string::npos)
      << model.error().message;
}

// Thousands of short sequences, and no more memory than after the first hundred.
TEST(Streaming, ManyShortRequestsLeaveNothingBehind) {
  const auto model = load(model_path("qwen2.gguf"), "cpu", 16384, [] { return true; });
  ASSERT_TRUE(model);
  const auto on = evaluator(*model, 4);
  std::vector<float> first;
  testing::expect_flat_memory([&](int i) {
    const std::vector<TokenId> tokens = {1, TokenId(3 + i % 7)};
    const auto got = outputs(*on, tokens, 1);
    ASSERT_TRUE(got) << got.error().message;
    if (i == 0) first = *got;
    if (i % 7 == 0) {
      ASSERT_TRUE(same_bits(*got, first)) << i;
    }
  });
}

#ifndef __SANITIZE_ADDRESS__
// 100 MB of weights through a ring of 8 MB.
TEST(Streaming, TakesTheMemoryOfTheRingAndNotOfTheWeights) {
  const auto spec = RandomModelSpec::parse("smollm2-135m:q4_0");
  ASSERT_TRUE(spec) << spec.error().message;
  const auto memory = MemoryFile::of_random_model(*spec, 1);
  ASSERT_TRUE(memory) << memory.error().message;
  const int64_t before = testing::resident_bytes();
  constexpr uint64_t kRing = 8 << 20;
  const auto model = load(memory->path(), "cpu", kRing, [] { return true; });
  ASSERT_TRUE(model) << model.error().message;
  const auto on = evaluator(*model, 16);
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(outputs(*on, tokens, 4));
  uint64_t weights = 0;
  for (const TensorInfo& info : (*model)->file().tensors()) weights += info.bytes;
  EXPECT_GE(weights, 60u << 20);
  EXPECT_GE((*model)->residency()->disk_ring()->statistics().bytes_read, weights / 2);
  EXPECT_LE(testing::resident_bytes() - before,
            int64_t(kRing) + (24 << 20));  // logits, activations, norms, the head of the file
}
#endif

}  // namespace
}  // namespace metallic
