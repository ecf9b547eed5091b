// What becomes of failures of the CUDA runtime: no GPU is needed, since fake_runtime.cc stands in for it. Every call of
// opening a backend, loading a model and evaluating some steps fails once.
#include <gtest/gtest.h>

#include <numeric>

#include "backend/cuda/cuda.h"
#include "backend/cuda/driver_facts.h"
#include "backend/cuda/fake_runtime.h"
#include "engine/evaluator.h"
#include "model/forward.h"
#include "support/random_model.h"

namespace metallic {
namespace {

using testing::fake_runtime;
using testing::FakeFailure;

constexpr testing::ModelShape kShape = {"tiny", "qwen2", 1, 64, 128, 2, 1, 32, 96, true};

// A model on the fake GPU.
struct Session {
  Config config = testing::config_of(kShape);
  std::shared_ptr<Backend> backend;
  std::unique_ptr<Weights> weights;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<KvCache> cache;
  std::vector<int32_t> pages = std::vector<int32_t>(4);

  Status open() {
    METALLIC_ASSIGN(backend, make_cuda_backend({}));
    testing::RandomWeights random(*backend, Format::kQ4_0, 128 * 64);
    METALLIC_ASSIGN(Weights loaded, testing::random_weights(kShape, random));
    weights = std::make_unique<Weights>(std::move(loaded));
    METALLIC_ASSIGN(Decoder made, Decoder::create(config, *weights, *backend, 16, 64));
    decoder = std::make_unique<Decoder>(std::move(made));
    METALLIC_ASSIGN(KvCache pages_of_it, KvCache::create(config, *backend, 4, kPageTokens, Format::kF16));
    cache = std::make_unique<KvCache>(std::move(pages_of_it));
    std::iota(pages.begin(), pages.end(), 0);
    return {};
  }
  // `rows` tokens behind `position`; the last one's successor is chosen.
  Status step(int rows, int position) {
    Batch batch;
    for (int i = 0; i < rows; ++i) {
      batch.tokens.push_back(i);
      batch.positions.push_back(position + i);
    }
    batch.sequences.push_back({0, rows, position, pages.data()});
    batch.logit_rows.push_back(rows - 1);
    Choices choices;
    const SampleRow row;
    return decoder->choose(batch, *cache, {&row, 1}, choices);
  }
  // Steps of one token, each started before the one ahead is finished.
  Status run_ahead(int position, int steps) {
    Choices choices;
    const SampleRow row;
    for (int i = 0; i < steps; ++i) {
      Batch batch;
      batch.tokens = {i == 0 ? 1 : chosen_before(0)};
      batch.positions = {position + i};
      batch.sequences = {{0, 1, position + i, pages.data()}};
      batch.logit_rows = {0};
      decoder->start(batch, *cache, {&row, 1});
      if (i > 0) METALLIC_TRY(decoder->finish(choices));
    }
    return decoder->finish(choices);
  }
  Status run() {
    METALLIC_TRY(open());
    METALLIC_TRY(step(9, 0));
    for (int i = 9; i < 13; ++i) METALLIC_TRY(step(1, i));  // launched, captured, replayed
    METALLIC_TRY(run_ahead(13, 4));
    return backend->synchronize();
  }
};

int calls_of_a_run() {
  fake_runtime().restart();
  {
    Session session;
    const Status status = session.run();
    EXPECT_TRUE(status) << status.error().message;
  }
  return fake_runtime().calls;
}

TEST(CudaFaults, WithoutAFailureEverythingRunsAndIsFreed) {
  EXPECT_GT(calls_of_a_run(), 100);
  EXPECT_EQ(fake_runtime().live_allocations, 0);
}

// What may fail without anybody having to know: the steps then run without a graph.
bool may_be_ignored(const std::string& call) {
  return call == "cudaStreamEndCapture" || call == "cudaGraphInstantiate" || call == "a kernel" ||
         call == "cudaLaunchKernelExC";
}

TEST(CudaFaults, AnyCallThatFailsIsAnErrorThatSaysWhatWasBeingDoneAndNothingLeaks) {
  const int calls = calls_of_a_run();
  for (int at = 0; at < calls; ++at) {
    fake_runtime().restart();
    fake_runtime().fail_at = at;
    {
      Session session;
      const Status status = session.run();
      const std::string& failed = fake_runtime().failed;
      if (failed.empty()) continue;  // the first run of all made some calls more
      SCOPED_TRACE(::testing::Message() << "call " << at << ", " << failed);
      if (status) {
        EXPECT_TRUE(may_be_ignored(failed));
      } else {
        EXPECT_TRUE(status.error().code == ErrorCode::kOutOfMemory || status.error().code == ErrorCode::kDevice);
        const std::string& message = status.error().message;  // "while copying …", "cannot allocate 9 bytes for …"
        EXPECT_TRUE(message.find("ing ") != std::string::npos || message.find(" for ") != std::string::npos) << message;
        if (failed.starts_with("cudaMalloc")) {
          EXPECT_EQ(status.error().code, ErrorCode::kOutOfMemory) << status.error().message;
        }
      }
    }
    ASSERT_EQ(fake_runtime().live_allocations, 0) << "after call " << at << ", " << fake_runtime().failed;
  }
}

TEST(CudaFaults, AfterAStepThatFailedTheNextOneWorks) {
  fake_runtime().restart();
  Session session;
  ASSERT_TRUE(session.open());
  for (int later = 0; later < 60; ++later) {
    fake_runtime().restart();
    fake_runtime().fail_at = later;
    (void)session.step(1 + later % 12, 0);
    fake_runtime().restart();
    const Status status = session.step(3, 0);
    ASSERT_TRUE(status) << status.error().message;
  }
}

TEST(CudaFaults, ALostDeviceFailsEveryStepAndCanBeClosed) {
  const int calls = calls_of_a_run();
  for (int at = 0; at < calls; at += 7) {
    fake_runtime().restart();
    fake_runtime().fail_at = at;
    fake_runtime().lost = true;
    fake_runtime().failure = FakeFailure::kIllegalAddress;
    {
      Session session;
      const Status status = session.run();
      if (fake_runtime().failed.empty()) continue;
      EXPECT_FALSE(status) << "call " << at << ", " << fake_runtime().failed;
      if (session.decoder && session.cache) {
        EXPECT_FALSE(session.step(1, 0));
      }
    }
    ASSERT_EQ(fake_runtime().live_allocations, 0) << "call " << at << ", " << fake_runtime().failed;
  }
}

TEST(CudaFaults, AShortageSaysHowMuchWasWantedAndHowMuchIsFree) {
  fake_runtime().restart();
  const auto backend = make_cuda_backend({}).value();
  fake_runtime().fail_at = fake_runtime().calls;
  const auto memory = backend->allocate(123456789);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::kOutOfMemory);
  for (const char* part : {"123456789", "2147483648", "4294967296", "cuda:0"})
    EXPECT_NE(memory.error().message.find(part), std::string::npos) << memory.error().message;
}

TEST(CudaFaults, EachReasonForNoGpuHasItsOwnWords) {
  using cuda::DriverFacts, cuda::DriverProblem;
  const auto why = [](DriverFacts facts) { return cuda::why_no_gpu(facts); };
  DriverFacts facts;
  facts.runtime = 13000;
  EXPECT_NE(why(facts).find("no NVIDIA driver"), std::string::npos);
  facts.has_gpu_file = true;
  EXPECT_NE(why(facts).find("libcuda.so.1"), std::string::npos);
  facts.driver = 12040;
  facts.problem = DriverProblem::kTooOld;
  EXPECT_NE(why(facts).find("too old: it knows CUDA 12.4"), std::string::npos);
  EXPECT_NE(why(facts).find("13.0"), std::string::npos);
  facts.driver = 13000;
  facts.problem = DriverProblem::kNoDevice;
  EXPECT_NE(why(facts).find("CUDA_VISIBLE_DEVICES"), std::string::npos);
  facts.problem = DriverProblem::kBusy;
  EXPECT_NE(why(facts).find("another process"), std::string::npos);
  facts.forbidden_file = "/dev/nvidia0";
  EXPECT_NE(why(facts).find("no permission"), std::string::npos);
  EXPECT_NE(why(facts).find("/dev/nvidia0"), std::string::npos);
}

TEST(CudaFaults, ADriverThatIsTooOldOrHasNoGpuIsUnsupportedAndNotACrash) {
  for (const FakeFailure why : {FakeFailure::kOldDriver, FakeFailure::kNoDevice, FakeFailure::kBusy}) {
    fake_runtime().restart();
    fake_runtime().no_devices = why;
    const auto backend = make_cuda_backend({});
    ASSERT_FALSE(backend);
    EXPECT_EQ(backend.error().code, ErrorCode::kUnsupported);
    EXPECT_FALSE(cuda_devices());
  }
}

}  // namespace
}  // namespace metallic
