// The architectures that can be converted: one line each.
#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "convert/arch/archs.h"

namespace metallic::convert {

std::span<const ConvertArch* const> all_convert_archs() {
  static const std::array kArchs = {
      &convert_llama(),      &convert_mistral(),     &convert_mixtral(),     &convert_smollm3(),
      &convert_granite(),    &convert_granite_moe(), &convert_qwen2(),       &convert_qwen2_moe(),
      &convert_qwen3(),      &convert_qwen3_moe(),   &convert_gemma(),       &convert_gemma2(),
      &convert_gemma3(),     &convert_phi3(),        &convert_gpt2(),        &convert_gpt_neox(),
      &convert_starcoder2(), &convert_stablelm(),    &convert_olmo2(),       &convert_cohere(),
      &convert_cohere2(),    &convert_glm4(),        &convert_deepseek2(),   &convert_deepseek3(),
      &convert_gpt_oss(),    &convert_bert(),        &convert_roberta(),     &convert_nomic_bert_moe(),
      &convert_nomic_bert(), &convert_jina_bert(),   &convert_modern_bert(),
  };
  return kArchs;
}

Result<const ConvertArch*> find_convert_arch(std::string_view hf_name, const JsonObject& config) {
  std::string known;
  for (const ConvertArch* arch : all_convert_archs()) {
    const bool always = arch->only_with.empty();
    METALLIC_ASSIGN(const int64_t number, always ? Result<int64_t>(1) : config.integer_or({arch->only_with}, 0));
    for (const std::string_view name : arch->hf_names) {
      if (name == hf_name && number > 0) return arch;
      if (always) known += (known.empty() ? "" : ", ") + std::string(name);
    }
  }
  return fail(ErrorCode::kUnsupported, "the architecture '{}' cannot be converted; the known ones are: {}",
              printable(hf_name), known);
}

}  // namespace metallic::convert
