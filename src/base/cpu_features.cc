#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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

// Tiles and their products of bytes, with both parts of their state turned on by the system (Intel's Software
// Developer's Manual, volume 1, chapter 18).
bool has_amx_int8() {
  constexpr unsigned kSavesStates = 1u << 27, kTiles = 1u << 24, kTileBytes = 1u << 25, kTileStates = 3u << 17;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kSavesStates) == 0) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kTiles) == 0 || (edx & kTileBytes) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileStates) == kTileStates;
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
  features.amx_int8 = features.avx512_vnni && has_amx_int8();
  features.amd = __builtin_cpu_is("amd");
  features.fast_bf16 = features.avx512_bf16 && features.amd;
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

// Linux's Documentation/arch/x86/xstate.rst.
bool request_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = probe();
  return features;
}

}  // namespace metallic
