// What is found out about the processor, against what the kernel says of it.
#include "base/cpu_features.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace metallic {
namespace {

TEST(CpuFeatures, OfArmComeFromTheBitsThatLinuxDocuments) {
  const CpuFeatures least = arm_features(1 << 1, 0);
  EXPECT_TRUE(least.neon && !least.dot && !least.i8mm && !least.avx2 && !least.avx512);
  const CpuFeatures dot = arm_features(1 << 1 | 1 << 20, 0);
  EXPECT_TRUE(dot.neon && dot.dot && !dot.i8mm);
  const CpuFeatures all = arm_features(~uint64_t(0), ~uint64_t(0));
  EXPECT_TRUE(all.neon && all.dot && all.i8mm);
  EXPECT_FALSE(arm_features(1 << 1 | 1 << 13, 1 << 20).dot) << "the two words are not to be mixed up";
  EXPECT_FALSE(arm_features(1 << 1 | 1 << 13, 1 << 20).i8mm) << "the two words are not to be mixed up";
}

TEST(CpuFeatures, AgreeWithTheKernelsListOfThem) {
  std::ifstream file("/proc/cpuinfo");
  std::string text(std::istreambuf_iterator<char>(file), {});
  for (char& c : text)
    if (c == '\n') c = ' ';
  const auto lists = [&](const char* name) {
    return text.find(std::string(" ").append(name).append(" ")) != std::string::npos;
  };
#if defined(__x86_64__)
  EXPECT_EQ(cpu_features().avx2, lists("avx2") && lists("fma") && lists("f16c"));
  EXPECT_EQ(cpu_features().avx512,
            cpu_features().avx2 && lists("avx512f") && lists("avx512bw") && lists("avx512dq") && lists("avx512vl"));
  EXPECT_EQ(cpu_features().avx512_vnni, cpu_features().avx512 && lists("avx512_vnni"));
  EXPECT_EQ(cpu_features().amx_int8, cpu_features().avx512_vnni && lists("amx_tile") && lists("amx_int8"));
#elif defined(__aarch64__)
  EXPECT_TRUE(cpu_features().neon);
  if (lists("asimd")) {  // QEMU's user mode, before version 9, shows the list of the machine it runs on
    EXPECT_EQ(cpu_features().dot, lists("asimddp"));
    EXPECT_EQ(cpu_features().i8mm, lists("i8mm"));
  }
#endif
}

#if defined(__aarch64__)
// The processor's own registers, which Linux shows to programs (Documentation/arch/arm64/cpu-feature-registers.rst).
// The suite aarch64 runs this on processors with neither, one and both of the two.
TEST(CpuFeatures, AgreeWithTheIdentificationRegisters) {
  uint64_t isar0 = 0, isar1 = 0;
  asm("mrs %0, ID_AA64ISAR0_EL1" : "=r"(isar0));
  asm("mrs %0, ID_AA64ISAR1_EL1" : "=r"(isar1));
  EXPECT_EQ(cpu_features().dot, (isar0 >> 44 & 15) != 0);
  EXPECT_EQ(cpu_features().i8mm, (isar1 >> 52 & 15) != 0);
}
#endif

// Tiles can be had where the processor has them and the system says so, and nowhere else.
TEST(CpuFeatures, TilesAreGivenOnlyWhereThereAreSome) {
  const bool given = request_tiles();
  EXPECT_TRUE(cpu_features().amx_int8 || !given);
  EXPECT_EQ(request_tiles(), given) << "asked again";
}

TEST(CpuFeatures, HaveNoWiderSetWithoutTheNarrowerOne) {
  EXPECT_TRUE(!cpu_features().avx512 || cpu_features().avx2);
  EXPECT_TRUE(!cpu_features().dot || cpu_features().neon);
  EXPECT_FALSE(cpu_features().neon && cpu_features().avx2);
}

}  // namespace
}  // namespace metallic
