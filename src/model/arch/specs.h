// The architectures, each in a file of its own.
#pragma once

#include "model/arch_spec.h"

namespace metallic {

const ArchSpec& llama_spec();
const ArchSpec& smollm3_spec();
const ArchSpec& qwen2_spec();
const ArchSpec& qwen2moe_spec();
const ArchSpec& qwen3_spec();
const ArchSpec& qwen3moe_spec();
const ArchSpec& gemma_spec();
const ArchSpec& gemma2_spec();
const ArchSpec& gemma3_spec();
const ArchSpec& phi3_spec();
const ArchSpec& gpt2_spec();
const ArchSpec& gptneox_spec();
const ArchSpec& starcoder2_spec();
const ArchSpec& stablelm_spec();
const ArchSpec& olmo2_spec();
const ArchSpec& command_r_spec();
const ArchSpec& cohere2_spec();
const ArchSpec& granite_spec();
const ArchSpec& granitemoe_spec();
const ArchSpec& glm4_spec();
const ArchSpec& deepseek2_spec();
const ArchSpec& gpt_oss_spec();
const ArchSpec& bert_spec();
const ArchSpec& nomic_bert_spec();
const ArchSpec& nomic_bert_moe_spec();
const ArchSpec& jina_bert_v2_spec();
const ArchSpec& modern_bert_spec();

}  // namespace metallic
