#include "backend/cpu/cpu.h"

#include <cstdlib>

#include "base/error.h"

namespace metallic {

Result<std::shared_ptr<Backend>> make_cpu_backend(const CpuOptions& options) {
  const char* variable = std::getenv("METALLIC_ISA");
  const bool from_environment = options.isa.empty() && variable != nullptr;
  const std::string_view isa = from_environment ? variable : options.isa;
  const Result<const cpu::Kernels*> kernels = cpu::find_kernels(isa);
  if (!kernels && from_environment) return fail_while("environment variable METALLIC_ISA", kernels.error());
  if (!kernels) return tl::unexpected<Error>(kernels.error());
  const cpu::PanelKernels& panels = cpu::find_panel_kernels(isa);
  return std::shared_ptr<Backend>(std::make_shared<cpu::CpuBackend>(options, **kernels, panels));
}

}  // namespace metallic
