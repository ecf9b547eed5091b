#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace metallic {
namespace {

#if defined(__x86_64__)
// Whose name __builtin_cpu_supports() of Clang 14 does not know. It needs AVX's registers: ask for AVX first.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// Compilers of today do not know it by name.
bool has_avx_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & 1u << 4) != 0;
}
#endif

CpuFeatures probe() {
#if defined(__x86_64__)
  CpuFeatures features;
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  features.avx512_bf16 = features.avx512 && __builtin_cpu_supports("avx512bf16");
  features.avx_vnni = features.avx2 && has_avx_vnni();
  return features;
#elif defined(__aarch64__)
  return arm_features(::getauxval(AT_HWCAP), ::getauxval(AT_HWCAP2));
#else
  return {};
#endif
}

}  // namespace

// The bits are Linux's (Documentation/arch/arm64/elf_hwcaps.rst), written out so that this can be tested anywhere.
CpuFeatures arm_features(uint64_t hwcap, uint64_t hwcap2) {
  constexpr uint64_t kAdvancedSimd = 1 << 1, kDot = 1 << 20, kI8mm = 1 << 13;
  CpuFeatures features;
  features.neon = (hwcap & kAdvancedSimd) != 0;
  features.dot = features.neon && (hwcap & kDot) != 0;
  features.i8mm = features.neon && (hwcap2 & kI8mm) != 0;
  return features;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = probe();
  return features;
}

}  // namespace metallic
