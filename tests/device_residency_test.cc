// Weights that come to a device from host memory, and rows that the host multiplies by: on a device made of host memory
// whose copies happen at the last moment and spoil their target at the first.
#include <unistd.h>

#include <cstring>
#include <random>
#include <unordered_map>

#include "backend/backend.h"
#include "backend/forwarding_backend.h"
#include "backend/test_support.h"
#include "backend/transfers.h"
#include "engine/evaluator.h"
#include "memory/residency.h"
#include "support/evaluate.h"
#include "support/golden.h"

namespace metallic {
namespace {

using testing::model_path;

class FakeDevice final : public ForwardingBackend, public Transfers {
 public:
  FakeDevice() : ForwardingBackend(*open_backend("cpu", 1)) {}

  int64_t fail_allocation = -1;  // this one of the pinned allocations fails
  Status failure;                // what synchronize() says next
  int marks = 0, copies = 0;

  Status synchronize() override { return std::exchange(failure, Status()); }
  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void>) override {
    expect_bytes(host);
    const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
    auto memory = std::make_shared<std::vector<char>>(bytes);
    std::memcpy(memory->data(), host.data, bytes);
    Weight weight = unplaced(host);
    place(weight, memory->data());
    const_cast<Placed*>(placed(weight))->memory = memory;
    return weight;
  }
  Result<Weight> load_plain(const TensorView& host, std::shared_ptr<const void> owner) override {
    return load_weight(host, std::move(owner));
  }
  void linear(const LinearOp& op) override {
    std::vector<Weight> weights(op.targets.size());
    std::vector<LinearTarget> targets(op.targets.begin(), op.targets.end());
    for (size_t i = 0; i < targets.size(); ++i) {
      weights[i].view = placed(*targets[i].weight)->view;
      targets[i].weight = &weights[i];
    }
    inner_->linear({op.x, targets});
  }
  void embed(const EmbedOp& op) override {
    Weight weight;
    weight.view = placed(*op.weight)->view;
    inner_->embed({&weight, op.ids, op.scale, op.out});
  }

  Result<std::shared_ptr<void>> allocate_pinned(uint64_t bytes) override {
    if (fail_allocation >= 0 && fail_allocation-- == 0)
      return tl::unexpected<Error>(Error{ErrorCode::kOutOfMemory, "no pinned memory"});
    return std::shared_ptr<void>(::operator new(bytes), [](void* p) { ::operator delete(p); });
  }
  uint64_t packed_bytes(const TensorView& host) const override {
    return uint64_t(host.shape[0] * host.stride[0] + 255) / 256 * 256;
  }
  Status pack(const TensorView& host, void* to) override {
    std::memcpy(to, host.data, size_t(host.shape[0] * host.stride[0]));
    return {};
  }
  Weight unplaced(const TensorView& host) const override {
    Weight weight;
    weight.view = host;
    weight.view.data = nullptr;
    auto made = std::make_shared<Placed>();
    made->view = weight.view;
    weight.packed = made;
    return weight;
  }
  void place(const Weight& weight, void* device_memory) override {
    const_cast<Placed*>(placed(weight))->view.data = device_memory;
  }
  uint64_t mark() override { return uint64_t(++marks); }
  uint64_t copy_ahead(void* to, const void* from, uint64_t bytes, uint64_t after) override {
    EXPECT_LE(after, uint64_t(marks));
    std::memset(to, 0x5a, bytes);
    waiting_[uint64_t(++copies)] = {to, from, bytes};
    return uint64_t(copies);
  }
  void wait_for_copy(uint64_t copy) override {
    const auto found = waiting_.find(copy);
    if (found == waiting_.end()) return;
    std::memcpy(found->second.to, found->second.from, found->second.bytes);
    waiting_.erase(found);
  }
  void submit() override {}

 private:
  struct Placed {
    TensorView view;
    std::shared_ptr<void> memory;
  };
  struct Copy {
    void* to;
    const void* from;
    uint64_t bytes;
  };
  static void expect_bytes(const TensorView& host) { EXPECT_NE(host.data, nullptr); }
  static const Placed* placed(const Weight& weight) { return static_cast<const Placed*>(weight.packed.get()); }
  std::unordered_map<uint64_t, Copy> waiting_;
};

std::shared_ptr<const GgufFile> open(const std::string& path) {
  auto file = GgufFile::open(path);
  EXPECT_TRUE(file) << (file ? "" : file.error().message);
  return std::make_shared<const GgufFile>(std::move(*file));
}

// Every tensor a block of its own, placed at random.
struct RandomPlan {
  std::vector<Block> blocks;
  Plan plan;

  RandomPlan(const GgufFile& file, uint32_t seed, uint64_t ring) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < file.tensors().size(); ++i) {
      Block block;
      block.tensors = {int(i)};
      blocks.push_back(block);
      Placement placement;
      const Place places[] = {Place::kGpu, Place::kStreamed, Place::kSplit, Place::kCpu};
      placement.place = places[seed == 0 ? 1 : random() % 4];
      if (placement.place == Place::kSplit) {
        placement.gpu = float(random() % 3) / 4;
        placement.decode_cpu = float(random() % 5) / 4;
      }
      plan.places.push_back(placement);
    }
    plan.gpu_ring_bytes = ring;
  }
};

using testing::outputs;

uint64_t largest_slice(const GgufFile& file) {
  uint64_t largest = 0;
  for (const TensorInfo& info : file.tensors())
    if (info.rank == 2)
      largest = std::max<uint64_t>(largest, info.bytes / info.size[1] * std::min<uint64_t>(64, info.size[1]));
  return (largest + 255) / 256 * 256;
}

class AnyPlanOfADevice : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyPlanOfADevice, GivesTheBitsOfTheResidentRun) {
  const std::string path = model_path(std::string(GetParam()) + ".gguf");
  const auto all_tokens = testing::read_array<int32_t>(model_path(std::string(GetParam()) + ".tokens.npy"));
  const auto tokens = std::span(all_tokens).first(std::min<size_t>(all_tokens.size(), 24));
  const auto resident = Model::load(path, *open_backend("cpu", 1));
  ASSERT_TRUE(resident);
  auto expecting = Evaluator::create(*resident, 32, 32, Format::kF32);
  const auto expected = outputs(**expecting, tokens, tokens.size());
  ASSERT_TRUE(expected);
  for (uint32_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    const auto file = open(path);
    const RandomPlan random(*file, seed, largest_slice(*file) * (1 + seed % 4 * seed % 5));
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
    EXPECT_GT(device->copies, 0);
  }
}
INSTANTIATE_TEST_SUITE_P(, AnyPlanOfADevice, ::testing::Values("llama-tied", "llama-bias", "qwen2", "gemma3"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(DeviceStreaming, AnAllocationThatFailsIsAnErrorAtWhicheverStep) {
  const auto file = open(model_path("qwen2.gguf"));
  const RandomPlan random(*file, 0, largest_slice(*file) * 4);
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
