// The architectures: one line each.
#include <array>
#include <string>

#include "base/error.h"
#include "model/arch/specs.h"

namespace metallic {

std::span<const ArchSpec* const> all_arch_specs() {
  static const std::array kSpecs = {
      &llama_spec(),        &smollm3_spec(),     &qwen2_spec(),      &qwen2moe_spec(),   &qwen3_spec(),
      &qwen3moe_spec(),     &gemma_spec(),       &gemma2_spec(),     &gemma3_spec(),     &phi3_spec(),
      &gpt2_spec(),         &gptneox_spec(),     &starcoder2_spec(), &stablelm_spec(),   &olmo2_spec(),
      &command_r_spec(),    &cohere2_spec(),     &granite_spec(),    &granitemoe_spec(), &glm4_spec(),
      &deepseek2_spec(),    &gpt_oss_spec(),     &bert_spec(),       &nomic_bert_spec(), &nomic_bert_moe_spec(),
      &jina_bert_v2_spec(), &modern_bert_spec(),
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
