#include "backend/cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <string>
#include <vector>

#include "base/error.h"

namespace metallic::cpu {
namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports("f16c") is unknown to clang 14.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

std::vector<const Kernels*> probe() {
  std::vector<const Kernels*> tables;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512) tables.push_back(&avx512_kernels());
  if (avx2) tables.push_back(&avx2_kernels());
#elif defined(__aarch64__)
  tables.push_back(&neon_kernels());  // part of every 64-bit ARM processor
#endif
  tables.push_back(&scalar_kernels());
  return tables;
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
  static const std::vector<const Kernels*> tables = probe();
  return tables;
}

Result<const Kernels*> find_kernels(std::string_view isa) {
  if (isa.empty()) return available_kernels().front();
  std::string known;
  for (const Kernels* kernels : available_kernels()) {
    if (isa == kernels->name) return kernels;
    known += (known.empty() ? "" : ", ") + std::string(kernels->name);
  }
  return fail(ErrorCode::kUnsupported, "this processor has no kernels for the instruction set '{}'; it can run: {}",
              isa, known);
}

}  // namespace metallic::cpu
