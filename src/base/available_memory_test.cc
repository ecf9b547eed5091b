#include "base/available_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace metallic {
namespace {

TEST(AvailableMemory, IsSomeAndNoMoreThanTheMachineHas) {
  const uint64_t installed = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  EXPECT_GT(available_memory(), 0u);
  EXPECT_LE(available_memory(), installed);
}

}  // namespace
}  // namespace metallic
