// The decoder architectures: one line each.
#include <array>
#include <string>

#include "base/error.h"
#include "model/arch_spec.h"

namespace metallic {

std::span<const ArchSpec* const> all_arch_specs() {
  static const std::array kSpecs = {
      &llama_spec(),
      &qwen2_spec(),
      &qwen3_spec(),
      &gemma3_spec(),
  };
  return kSpecs;
}

Result<const ArchSpec*> find_arch_spec(std::string_view name) {
  std::string known;
  for (const ArchSpec* spec : all_arch_specs()) {
    if (spec->name == name) return spec;
    known += (known.empty() ? "" : ", ") + std::string(spec->name);
  }
  return fail(ErrorCode::kUnsupported, "architecture '{}' is not supported; the known ones are: {}", name, known);
}

}  // namespace metallic
