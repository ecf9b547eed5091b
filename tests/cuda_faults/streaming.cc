// Failures of the CUDA runtime while weights are brought to the GPU from RAM and from disk, on the fake one.
#include <gtest/gtest.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/fake_runtime.h"
#include "base/error.h"
#include "engine/evaluator.h"
#include "support/evaluate.h"
#include "support/golden.h"
#include "support/plans.h"

namespace metallic {
namespace {

using testing::fake_runtime;

// A model of which some is on the GPU, some in RAM, shared or not, and some on disk.
struct Session {
  std::shared_ptr<const Model> model;
  std::unique_ptr<Evaluator> evaluator;

  Status open() {
    METALLIC_ASSIGN(GgufFile opened, GgufFile::open(testing::model_path("qwen2.gguf")));
    const auto file = std::make_shared<const GgufFile>(std::move(opened));
    const std::vector<Block> blocks = testing::blocks_of(*file);
    const Place places[] = {Place::kGpu, Place::kStreamed, Place::kSplit, Place::kDisk};
    Plan plan;
    plan.gpu_ring_bytes = 1 << 20;
    plan.disk_ring_bytes = 1 << 19;
    for (size_t i = 0; i < blocks.size(); ++i) {
      Placement& placement = plan.places.emplace_back();
      placement.place = places[i % 4];
      if (placement.place == Place::kSplit) placement.decode_cpu = 0.5f;
    }
    METALLIC_ASSIGN(std::shared_ptr<Backend> backend, make_cuda_backend({}));
    METALLIC_ASSIGN(model, Model::load(file, std::move(backend), blocks, plan, make_file_reader, 1));
    METALLIC_ASSIGN(evaluator, Evaluator::create(model, 16, 16, Format::kF16));
    return {};
  }
  Status step(size_t tokens) {
    const std::vector<TokenId> ids(tokens, 1);
    const auto got = testing::outputs(*evaluator, ids, tokens);
    return got ? Status() : tl::unexpected<Error>(got.error());
  }
  Status run() {
    METALLIC_TRY(open());
    for (const size_t tokens : {12, 1, 1, 12}) METALLIC_TRY(step(tokens));
    return {};
  }
};

TEST(CudaStreamingFaults, AnyCallThatFailsIsAnErrorAndNothingLeaks) {
  fake_runtime().restart();
  {
    Session session;
    const Status status = session.run();
    ASSERT_TRUE(status) << status.error().message;
  }
  ASSERT_EQ(fake_runtime().live_allocations, 0);
  const int calls = fake_runtime().calls;
  int failed = 0;
  for (int at = 0; at < calls; at += 5) {
    fake_runtime().restart();
    fake_runtime().fail_at = at;
    {
      Session session;
      const Status status = session.run();
      if (!status) {
        ++failed;
        EXPECT_TRUE(status.error().code == ErrorCode::kOutOfMemory || status.error().code == ErrorCode::kDevice)
            << status.error().message;
      }
    }
    ASSERT_EQ(fake_runtime().live_allocations, 0) << "after call " << at << ", " << fake_runtime().failed;
  }
  EXPECT_GT(failed, 20);
}

// Nobody waits for what it does not come to any more.
TEST(CudaStreamingFaults, ALostDeviceFailsEveryStepAndCanBeClosed) {
  fake_runtime().restart();
  int calls = 0;
  {
    Session session;
    ASSERT_TRUE(session.open());
    ASSERT_TRUE(session.step(12));
    const int before = fake_runtime().calls;
    ASSERT_TRUE(session.step(1));
    calls = fake_runtime().calls - before;
  }
  for (int at = 0; at < calls; at += 3) {
    fake_runtime().restart();
    Session session;
    ASSERT_TRUE(session.open());
    ASSERT_TRUE(session.step(12));
    fake_runtime().fail_at = fake_runtime().calls + at;
    fake_runtime().failure = testing::FakeFailure::kIllegalAddress;
    fake_runtime().lost = true;
    for (int i = 0; i < 2; ++i) {
      const Status status = session.step(1);
      if (fake_runtime().failed.empty()) break;  // fewer calls this time: how often copies are asked after varies
      ASSERT_FALSE(status) << at;
      EXPECT_EQ(status.error().code, ErrorCode::kDevice) << status.error().message;
    }
  }
  fake_runtime().restart();
}

TEST(CudaStreamingFaults, AfterAStepThatFailedTheNextOneWorks) {
  fake_runtime().restart();
  Session session;
  ASSERT_TRUE(session.open());
  for (int later = 0; later < 100; ++later) {
    fake_runtime().restart();
    fake_runtime().fail_at = later;
    (void)session.step(later % 2 == 0 ? 1 : 12);
    fake_runtime().restart();
    const Status status = session.step(later % 3 == 0 ? 12 : 1);
    ASSERT_TRUE(status) << later << ": " << status.error().message;
  }
}

}  // namespace
}  // namespace metallic
