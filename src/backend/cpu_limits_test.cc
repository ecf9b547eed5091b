// What the CPU backend says of the processor's limits: only that it is believable, since a test must not time anything.
#include "backend/test_support.h"

namespace metallic {
namespace {

TEST(CpuLimits, AreNumbersThatAProcessorCanHave) {
  for (const bool repack : {false, true}) {
    const auto backend = make_cpu_backend({.threads = 2, .repack = repack}).value();
    const DeviceLimits limits = backend->measure_limits();
    EXPECT_GT(limits.read_bytes_per_second, 1e7);
    EXPECT_LT(limits.read_bytes_per_second, 1e13);
    EXPECT_GT(limits.dot_operations_per_second, 1e7);
    EXPECT_LT(limits.dot_operations_per_second, 1e15);
  }
}

TEST(CpuLimits, AreNotKnownToTheReference) {
  const DeviceLimits limits = make_reference_backend(1)->measure_limits();
  EXPECT_EQ(limits.read_bytes_per_second, 0);
  EXPECT_EQ(limits.dot_operations_per_second, 0);
}

}  // namespace
}  // namespace metallic
