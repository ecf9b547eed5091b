#include "backend/cpu/panels.h"

#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/cpu_features.h"

namespace metallic::cpu {
namespace {

std::vector<const PanelKernels*> probe() {
  std::vector<const PanelKernels*> tables;
#if defined(__x86_64__)
  const CpuFeatures& features = cpu_features();
  if (features.avx512_vnni) tables.push_back(&avx512vnni_panels());
  // Only by name: with two threads a core they gain nothing (docs/decisions/integer-panels.md).
  if (features.amx_int8 && request_tiles()) tables.push_back(&amxint8_panels());
  if (features.avx_vnni) tables.push_back(&avxvnni_panels());
  if (features.avx2) tables.push_back(&avx2_panels());
#elif defined(__aarch64__)
  const CpuFeatures& features = cpu_features();
  if (features.dot && features.i8mm) tables.push_back(&neoni8mm_panels());
  if (features.dot) tables.push_back(&neondot_panels());
  tables.push_back(&neon_panels());
#endif
  tables.push_back(&scalar_panels());
  return tables;
}

}  // namespace

bool has_pipes_beside_products() { return cpu_features().amd; }
bool prefetches_what_is_in_order() { return cpu_features().amd; }

std::span<const PanelKernels* const> available_panel_kernels() {
  static const std::vector<const PanelKernels*> tables = probe();
  return tables;
}

const PanelKernels* named_panel_kernels(std::string_view name) {
  for (const PanelKernels* kernels : available_panel_kernels())
    if (kernels->name == name) return kernels;
  return nullptr;
}

const PanelKernels& find_panel_kernels(std::string_view isa) {
  // One table is called neon too, but who asks for that means all of it.
  const PanelKernels* named = isa == "neon" ? nullptr : named_panel_kernels(isa);
  return named != nullptr ? *named : *available_panel_kernels().front();
}

}  // namespace metallic::cpu
