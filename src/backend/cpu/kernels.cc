#include "backend/cpu/kernels.h"

#include <string>
#include <vector>

#include "backend/cpu/panels.h"
#include "base/cpu_features.h"
#include "base/error.h"

namespace metallic::cpu {
namespace {

std::vector<const Kernels*> probe() {
  std::vector<const Kernels*> tables;
#if defined(__x86_64__)
  const CpuFeatures& features = cpu_features();
  if (features.avx512) tables.push_back(&avx512_kernels());
  if (features.avx512_bf16) tables.insert(features.fast_bf16 ? tables.begin() : tables.end(), &avx512_bfloat_kernels());
  if (features.avx2) tables.push_back(&avx2_kernels());
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
  if (const PanelKernels* panels = named_panel_kernels(isa)) isa = panels->floats;
  std::string known;
  for (const Kernels* kernels : available_kernels()) {
    if (isa == kernels->name) return kernels;
    known += (known.empty() ? "" : ", ") + std::string(kernels->name);
  }
  for (const PanelKernels* panels : available_panel_kernels())
    if (std::string_view(panels->name) != panels->floats) known += ", " + std::string(panels->name);
  return fail(ErrorCode::kUnsupported, "this processor has no kernels for the instruction set '{}'; it can run: {}",
              isa, known);
}

}  // namespace metallic::cpu
