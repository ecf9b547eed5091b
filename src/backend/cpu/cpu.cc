#include "backend/cpu/cpu.h"

#include <cstdlib>

#include "base/error.h"

namespace metallic {

Result<std::shared_ptr<Backend>> make_cpu_backend(int threads, std::string_view isa) {
  const char* variable = std::getenv("METALLIC_ISA");
  const bool from_environment = isa.empty() && variable != nullptr;
  const Result<const cpu::Kernels*> kernels = cpu::find_kernels(from_environment ? variable : isa);
  if (!kernels && from_environment) return fail_while("environment variable METALLIC_ISA", kernels.error());
  if (!kernels) return tl::unexpected<Error>(kernels.error());
  return std::shared_ptr<Backend>(std::make_shared<cpu::CpuBackend>(threads, **kernels));
}

namespace cpu {

Result<Weight> CpuBackend::load_weight(const TensorView& host, std::shared_ptr<const void> owner) {
  return Weight{host, std::move(owner), nullptr};
}

}  // namespace cpu
}  // namespace metallic
