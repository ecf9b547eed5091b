// Weights that come to a device from host memory or from disk, and rows that the host multiplies by: on a device made
// of host memory whose copies happen at the last moment and spoil their target at the first.
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "backend/backend.h"
#include "backend/test_support.h"
#include "engine/evaluator.h"
#include "memory/faulty_reader.h"
#include "memory/residency.h"
#include "model/model_sizes.h"
#include "support/engine_bench.h"
#include "support/evaluate.h"
#include "support/fake_device.h"
#include "support/golden.h"
#include "support/plans.h"
#include "support/soak.h"

namespace metallic {
namespace {

using testing::FaultyReader;
using testing::model_path;

using testing::FakeDevice;

std::shared_ptr<const GgufFile> open(const std::string& path) {
  auto file = GgufFile::open(path);
  EXPECT_TRUE(file) << (file ? "" : file.error().message);
  return std::make_shared<const GgufFile>(std::move(*file));
}

uint64_t largest_slice(const GgufFile& file) {
  uint64_t largest = 0;
  for (const TensorInfo& info : file.tensors())
    if (info.rank >= 2)
      largest =
          std::max<uint64_t>(largest, info.bytes / info.size[1] / info.size[2] * std::min<uint64_t>(64, info.size[1]));
  return (largest + 255) / 256 * 256;
}

class AnyPlanOfADevice : public ::testing::TestWithParam<const char*> {};

// Every tensor and every expert a block of its own, placed at random.
struct RandomPlan {
  std::vector<Block> blocks;
  Plan plan;

  enum From { kAnywhere, kRam, kDisk };

  RandomPlan(const GgufFile& file, uint32_t seed, uint64_t ring, From from = kAnywhere) {
    std::mt19937 random(seed);
    blocks = testing::blocks_of(file);
    for (size_t i = 0; i < blocks.size(); ++i) {
      Placement placement;
      const Place places[] = {Place::kGpu, Place::kStreamed, Place::kSplit, Place::kCpu, Place::kDisk};
      placement.place = from == kDisk ? Place::kDisk : places[seed == 0 ? 1 : random() % (from == kRam ? 4 : 5)];
      if (placement.place == Place::kSplit || placement.place == Place::kDisk) placement.gpu = float(random() % 3) / 4;
      if (placement.place == Place::kSplit) placement.decode_cpu = float(random() % 5) / 4;
      plan.places.push_back(placement);
    }
    plan.gpu.context = 1;  // a GPU computes
    plan.gpu_ring_bytes = ring;
    plan.disk_ring_bytes = largest_slice(file) + 12288 + (seed % 2 == 0 ? 0 : random() % 100'000);
  }

  void keep_kv_in_ram(const GgufFile& file) { plan.kv_on_gpu.assign(size_t(read_config(file)->layers), false); }
};

using testing::outputs;
using testing::relative_l2;

void expect_the_bits_of_the_resident_run(const std::string& path, std::span<const TokenId> tokens) {
  const auto resident = Model::load(path, *open_backend("cpu", 1));
  ASSERT_TRUE(resident);
  auto expecting = Evaluator::create(*resident, 32, 32, Format::kF32);
  const auto expected = outputs(**expecting, tokens, tokens.size());
  ASSERT_TRUE(expected);
  for (uint32_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    const auto file = open(path);
    const bool ring = seed % 6 != 5;  // without one, the host multiplies by all that is not on the device
    RandomPlan random(*file, seed, ring ? largest_slice(*file) * (2 + seed % 4 * seed % 5) : 0,
                      ring ? RandomPlan::kAnywhere : RandomPlan::kRam);
    const bool kv_in_ram = seed % 3 == 1;
    if (kv_in_ram) random.keep_kv_in_ram(*file);
    const auto device = std::make_shared<FakeDevice>();
    const auto model = Model::load(file, device, random.blocks, random.plan, make_file_reader, 1);
    ASSERT_TRUE(model) << model.error().message;
    auto on = Evaluator::create(*model, 32, 32, Format::kF32);
    ASSERT_TRUE(on);
    for (const size_t chunk : {tokens.size(), size_t(1), size_t(5), size_t(11), size_t(1)}) {
      const auto got = outputs(**on, tokens, chunk);
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_EQ(got->size(), expected->size());
      ASSERT_EQ(std::memcmp(got->data(), expected->data(), got->size() * sizeof(float)), 0) << "chunks of " << chunk;
    }
    EXPECT_EQ(device->copies > 0, ring);
    EXPECT_EQ(device->attentions > 0, !kv_in_ram);
  }
}

TEST_P(AnyPlanOfADevice, GivesTheBitsOfTheResidentRun) {
  const auto tokens = testing::read_array<int32_t>(model_path(std::string(GetParam()) + ".tokens.npy"));
  expect_the_bits_of_the_resident_run(model_path(std::string(GetParam()) + ".gguf"),
                                      std::span(tokens).first(std::min<size_t>(tokens.size(), 24)));
}
INSTANTIATE_TEST_SUITE_P(, AnyPlanOfADevice, ::testing::Values("llama-tied", "llama-bias", "qwen2", "gemma3"),
                         [](const auto& test) { return testing::test_name(test.param); });

// A long step whose head multiplies few rows leaves the host its share of them; for many rows the ring brings all.
TEST(LongStepsOfADevice, BringAllOfTheHeadForManyOutputsAlone) {
  const auto random_file = MemoryFile::of_random_model(testing::sliced_model(), 1);
  ASSERT_TRUE(random_file) << random_file.error().message;
  const auto resident = Model::load(random_file->path(), *open_backend("cpu", 1));
  ASSERT_TRUE(resident) << resident.error().message;
  auto expecting = Evaluator::create(*resident, 64, 64, Format::kF32);
  const auto file = open(random_file->path());
  RandomPlan plan(*file, 0, 4 * largest_slice(*file), RandomPlan::kRam);
  for (size_t i = 0; i < plan.blocks.size(); ++i)
    if (plan.blocks[i].kind == BlockKind::kHead) {
      plan.plan.places[i].place = Place::kSplit;
      plan.plan.places[i].decode_cpu = 0.5f;
    }
  const auto device = std::make_shared<FakeDevice>();
  auto model = Model::load(file, device, plan.blocks, plan.plan, make_file_reader, 1);
  ASSERT_TRUE(model) << model.error().message;
  auto on = Evaluator::create(*model, 64, 64, Format::kF32);
  std::vector<TokenId> tokens(24);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = TokenId(i * 7 % 256);
  std::vector<int32_t> all(tokens.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = int32_t(i);
  const std::span<const int32_t> last = std::span(all).last(1);
  const auto copies_of = [&](std::span<const int32_t> wanted) {
    std::vector<float> expected, got;
    (*expecting)->rewind(0);
    (*on)->rewind(0);
    EXPECT_TRUE((*expecting)->feed(tokens, wanted, expected));
    const int before = device->copies;
    const Status status = (*on)->feed(tokens, wanted, got);
    EXPECT_TRUE(status) << status.error().message;
    EXPECT_TRUE(got == expected);
    return device->copies - before;
  };
  copies_of(last);
  const int few = copies_of(last);
  copies_of(all);
  const int many = copies_of(all);
  EXPECT_GT(many, few);
  copies_of(last);
  EXPECT_EQ(copies_of(last), few);
  copies_of({});  // the head is not asked
  copies_of(last);
  EXPECT_EQ(copies_of(last), few);
  EXPECT_TRUE(device->is_deferred);
  on->reset();
  model->reset();
  EXPECT_FALSE(device->is_deferred);  // whoever uses it next starts afresh
}

// The same on a GPU: from wherever weights come, the outputs are those of the resident run; where the host multiplies
// by some, to the accuracy of codes of 8 bits.
void expect_the_outputs_of_the_resident_run(const std::string& path, std::span<const TokenId> tokens) {
  const auto resident = Model::load(path, *open_backend("cuda", 1));
  ASSERT_TRUE(resident) << resident.error().message;
  auto expecting = Evaluator::create(*resident, 32, 32, Format::kF16);
  const auto expected = outputs(**expecting, tokens, tokens.size());
  ASSERT_TRUE(expected);
  for (uint32_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    const auto file = open(path);
    RandomPlan random(*file, seed, largest_slice(*file) * (4 + seed), RandomPlan::kAnywhere);
    if (seed % 3 == 1) random.keep_kv_in_ram(*file);
    const auto model = Model::load(file, *open_backend("cuda", 1), random.blocks, random.plan, make_file_reader, 2);
    ASSERT_TRUE(model) << model.error().message;
    auto on = Evaluator::create(*model, 32, 32, Format::kF16);
    ASSERT_TRUE(on);
    for (const size_t chunk : {tokens.size(), size_t(1), size_t(11), size_t(3)}) {
      const auto got = outputs(**on, tokens, chunk);
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_EQ(got->size(), expected->size());
      EXPECT_LE(relative_l2(*got, *expected), 0.05) << "chunks of " << chunk;
    }
  }
}

class AnyPlanOnCuda : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyPlanOnCuda, GivesTheOutputsOfTheResidentRun) {
  METALLIC_SKIP_IF_ABSENT("cuda");
  const auto tokens = testing::read_array<int32_t>(model_path(std::string(GetParam()) + ".tokens.npy"));
  expect_the_outputs_of_the_resident_run(model_path(std::string(GetParam()) + ".gguf"),
                                         std::span(tokens).first(std::min<size_t>(tokens.size(), 24)));
}
INSTANTIATE_TEST_SUITE_P(, AnyPlanOnCuda, ::testing::Values("llama-tied", "qwen2", "gemma3"),
                         [](const auto& test) { return testing::test_name(test.param); });

class AnyPlanOfAMixtureOnCuda : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyPlanOfAMixtureOnCuda, GivesTheOutputsOfTheResidentRun) {
  METALLIC_SKIP_IF_ABSENT("cuda");
  const testing::ConvertedModel model(GetParam());
  ASSERT_EQ(model.problem(), "");
  const auto tokens = testing::read_array<int32_t>((model.folder() / "tokens.npy").string());
  expect_the_outputs_of_the_resident_run(model.path(), std::span(tokens).first(std::min<size_t>(tokens.size(), 16)));
}
INSTANTIATE_TEST_SUITE_P(, AnyPlanOfAMixtureOnCuda, ::testing::Values("mixtral", "qwen2moe", "deepseek2-lite"),
                         [](const auto& test) { return testing::test_name(test.param); });

// Steps so long that weights are decoded before they are multiplied by: slices come while their product is under way.
class LongStepsOnCuda : public ::testing::TestWithParam<const char*> {};

TEST_P(LongStepsOnCuda, GiveTheOutputsOfTheResidentRun) {
  METALLIC_SKIP_IF_ABSENT("cuda");
  constexpr int kTokens = 450;
  RandomModelSpec spec = testing::sliced_model();
  spec.shape.width = 256;
  spec.shape.layers = 3;
  spec.type = find_quantize_type(GetParam()).value();
  const auto random_file = MemoryFile::of_random_model(spec, 1);
  ASSERT_TRUE(random_file) << random_file.error().message;
  std::vector<TokenId> tokens(kTokens);
  std::mt19937 random(7);
  for (TokenId& token : tokens) token = TokenId(random() % 256);
  const auto resident = Model::load(random_file->path(), *open_backend("cuda", 1));
  ASSERT_TRUE(resident) << resident.error().message;
  auto expecting = Evaluator::create(*resident, 512, 512, Format::kF16);
  for (uint32_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(seed);
    const auto file = open(random_file->path());
    RandomPlan plan(*file, seed, largest_slice(*file) * (4 + 3 * seed),
                    seed % 3 == 2 ? RandomPlan::kAnywhere : RandomPlan::kRam);
    const auto model = Model::load(file, *open_backend("cuda", 1), plan.blocks, plan.plan, make_file_reader, 2);
    ASSERT_TRUE(model) << model.error().message;
    auto on = Evaluator::create(*model, 512, 512, Format::kF16);
    ASSERT_TRUE(on);
    for (const size_t chunk : {size_t(kTokens), size_t(400), size_t(70)}) {
      const auto expected = outputs(**expecting, tokens, chunk), got = outputs(**on, tokens, chunk);
      ASSERT_TRUE(expected) << expected.error().message;
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_EQ(got->size(), expected->size());
      EXPECT_LE(relative_l2(*got, *expected), 0.01) << "chunks of " << chunk;  // fused products have bfloat16 between
    }
  }
}
INSTANTIATE_TEST_SUITE_P(, LongStepsOnCuda, ::testing::Values("q4_0", "q8_0", "q4_k_m", "f16", "bf16", "f32", "iq4_nl"),
                         [](const auto& test) { return testing::test_name(test.param); });

// Experts on the device, in RAM and on disk, side by side.
class AnyPlanOfAMixture : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyPlanOfAMixture, GivesTheBitsOfTheResidentRun) {
  const testing::ConvertedModel model(GetParam());
  ASSERT_EQ(model.problem(), "");
  const auto tokens = testing::read_array<int32_t>((model.folder() / "tokens.npy").string());
  expect_the_bits_of_the_resident_run(model.path(), std::span(tokens).first(std::min<size_t>(tokens.size(), 16)));
}
INSTANTIATE_TEST_SUITE_P(, AnyPlanOfAMixture, ::testing::Values("mixtral", "qwen2moe", "deepseek2-lite", "gpt-oss"),
                         [](const auto& test) { return testing::test_name(test.param); });

// Whole experts on the device and in RAM: in a step of few tokens there is one wait for each of their layers.
TEST(DeviceStreaming, ALayerOfExpertsIsHandedOverOnce) {
  const testing::ConvertedModel model("qwen2moe");
  ASSERT_EQ(model.problem(), "");
  const auto all = testing::read_array<int32_t>((model.folder() / "tokens.npy").string());
  const auto tokens = std::span(all).first(std::min<size_t>(all.size(), 14));
  const auto resident = Model::load(model.path(), *open_backend("cpu", 1));
  ASSERT_TRUE(resident);
  auto expecting = Evaluator::create(*resident, 32, 32, Format::kF32);
  const auto expected = outputs(**expecting, tokens, tokens.size());
  const auto file = open(model.path());
  const auto sizes = model_sizes(*file, *read_config(*file), {});
  ASSERT_TRUE(sizes);
  Plan plan;
  std::set<int> layers;
  for (const Block& block : sizes->blocks) {
    const bool in_ram = block.expert >= 0 && block.expert % 3 != 1;
    plan.places.push_back({.place = in_ram ? Place::kCpu : Place::kGpu});
    if (in_ram) layers.insert(block.layer);
  }
  plan.gpu.context = 1;  // a GPU computes
  const auto device = std::make_shared<FakeDevice>();
  const auto divided = Model::load(file, device, sizes->blocks, plan, make_file_reader, 1);
  ASSERT_TRUE(divided) << divided.error().message;
  auto on = Evaluator::create(*divided, 32, 32, Format::kF32);
  ASSERT_TRUE(on);
  ASSERT_GT(layers.size(), 1u);
  for (const size_t chunk : {size_t(1), size_t(4)}) {
    const int before = device->waits;
    const auto got = outputs(**on, tokens, chunk);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(std::memcmp(got->data(), expected->data(), got->size() * sizeof(float)), 0) << "chunks of " << chunk;
    EXPECT_EQ(device->waits - before, int((tokens.size() + chunk - 1) / chunk * layers.size()));
  }
}

TEST(DeviceStreaming, AnAllocationThatFailsIsAnErrorAtWhicheverStep) {
  const auto file = open(model_path("qwen2.gguf"));
  const RandomPlan random(*file, 1, largest_slice(*file) * 4);
  int failed = 0;
  for (int64_t at = 0;; ++at) {
    const auto device = std::make_shared<FakeDevice>();
    device->fail_allocation = at;
    const auto model = Model::load(file, device, random.blocks, random.plan, make_file_reader, 1);
    if (model) break;
    EXPECT_EQ(model.error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(model.error().message, "no pinned memory");
    ++failed;
  }
  EXPECT_GT(failed, 10);
}

// At whichever read it happens, in few tokens or many.
TEST(DeviceStreaming, AFailedReadEndsAStepAndTheNextOneWorks) {
  const std::string path = model_path("llama-tied.gguf");
  const std::vector<TokenId> tokens = {1, 5, 9, 2, 7, 3, 11, 4, 6, 8, 10, 12};
  const auto resident = Model::load(path, *open_backend("cpu", 1));
  ASSERT_TRUE(resident);
  auto expecting = Evaluator::create(*resident, 16, 16, Format::kF32);
  const auto expected = outputs(**expecting, tokens, tokens.size());
  const auto file = open(path);
  int failed = 0;
  for (int64_t at = 0; at < 120; at += 3) {
    SCOPED_TRACE(at);
    const RandomPlan random(*file, uint32_t(at), 2 * largest_slice(*file), RandomPlan::kDisk);
    auto faults = std::make_shared<FaultyReader::Faults>();
    faults->shorten = at % 2 == 0 ? 0 : 8192;
    faults->interrupt_each = at % 5 == 0 ? 3 : 0;
    const auto model = Model::load(
        file, std::make_shared<FakeDevice>(), random.blocks, random.plan,
        [&] { return std::make_unique<FaultyReader>(make_file_reader(), faults); }, 1);
    ASSERT_TRUE(model) << model.error().message;
    auto on = Evaluator::create(*model, 16, 16, Format::kF32);
    faults->fail_at = at;
    const auto broken = outputs(**on, tokens, at % 4 == 0 ? tokens.size() : 2);
    if (!broken) {
      ++failed;
      EXPECT_EQ(broken.error().code, ErrorCode::kIo);
      EXPECT_NE(broken.error().message.find("llama-tied.gguf: reading"), std::string::npos) << broken.error().message;
    }
    faults->fail_at = -1;
    const auto again = outputs(**on, tokens, at % 4 == 0 ? 3 : tokens.size());
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(std::memcmp(again->data(), expected->data(), expected->size() * sizeof(float)), 0);
  }
  EXPECT_GT(failed, 5);  // how many reads are still to come when the fault is set depends on the threads
}

TEST(DeviceStreaming, SaysThatTheFileWasCutShortAndReadsOnWhenItHasLostItsName) {
  const auto folder = std::filesystem::temp_directory_path() / ("metallic-device-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "model.gguf").string();
  std::filesystem::copy_file(model_path("qwen2.gguf"), path, std::filesystem::copy_options::overwrite_existing);
  const auto file = open(path);
  const RandomPlan random(*file, 2, 2 * largest_slice(*file), RandomPlan::kDisk);
  const auto model = Model::load(file, std::make_shared<FakeDevice>(), random.blocks, random.plan, make_file_reader, 1);
  ASSERT_TRUE(model) << model.error().message;
  auto on = Evaluator::create(*model, 8, 8, Format::kF32);
  const std::vector<TokenId> tokens = {1, 2, 3};
  const auto before = outputs(**on, tokens, 3);
  ASSERT_TRUE(before);
  const int writable = ::open(path.c_str(), O_RDWR);
  std::filesystem::remove_all(folder);
  const auto after = outputs(**on, tokens, 1);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(std::memcmp(after->data(), before->data(), before->size() * sizeof(float)), 0);
  ASSERT_EQ(::ftruncate(writable, off_t(file->tensors()[0].offset + 4096)), 0);
  ::close(writable);
  const auto cut = outputs(**on, tokens, 1);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::kIo);
}

TEST(DeviceStreaming, AFailureOfTheDeviceEndsAStepAndTheNextOneWorks) {
  const auto file = open(model_path("qwen2.gguf"));
  const RandomPlan random(*file, 3, largest_slice(*file) * 4);
  const auto device = std::make_shared<FakeDevice>();
  const auto model = Model::load(file, device, random.blocks, random.plan, make_file_reader, 1);
  ASSERT_TRUE(model) << model.error().message;
  auto on = Evaluator::create(*model, 8, 8, Format::kF32);
  const std::vector<TokenId> tokens = {1, 2, 3};
  const auto before = outputs(**on, tokens, 3);
  ASSERT_TRUE(before);
  device->failure = tl::unexpected<Error>(Error{ErrorCode::kDevice, "the copy engine stopped"});
  const auto broken = outputs(**on, tokens, 1);
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message, "the copy engine stopped");
  const auto after = outputs(**on, tokens, 1);
  ASSERT_TRUE(after);
  EXPECT_EQ(std::memcmp(after->data(), before->data(), before->size() * sizeof(float)), 0);
}

// Requests of one token and of many, whose weights come from RAM and from disk: no more memory than after the first
// hundred.
TEST(DeviceStreaming, ManyShortRequestsLeaveNothingBehind) {
  const auto file = open(model_path("qwen2.gguf"));
  const RandomPlan random(*file, 7, largest_slice(*file) * 4);
  const auto model = Model::load(file, std::make_shared<FakeDevice>(), random.blocks, random.plan, make_file_reader, 1);
  ASSERT_TRUE(model) << model.error().message;
  auto on = Evaluator::create(*model, 16, 16, Format::kF32);
  std::vector<float> first;
  testing::expect_flat_memory([&](int i) {
    const std::vector<TokenId> tokens(i % 3 == 0 ? 12 : 1, TokenId(1 + i % 5));
    const auto got = outputs(**on, tokens, tokens.size());
    ASSERT_TRUE(got) << got.error().message;
    if (i == 0) first = *got;
    if (i % 15 == 0) {
      ASSERT_TRUE(std::memcmp(got->data(), first.data(), first.size() * sizeof(float)) == 0) << i;
    }
  });
}

TEST(DeviceStreaming, ARingSmallerThanASliceIsRefused) {
  const auto file = open(model_path("qwen2.gguf"));
  const RandomPlan random(*file, 0, 256);
  const auto model = Model::load(file, std::make_shared<FakeDevice>(), random.blocks, random.plan, make_file_reader, 1);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(model.error().message.find("a ring of 256 bytes in the memory of the GPU cannot hold"), std::string::npos);
}

}  // namespace
}  // namespace metallic
