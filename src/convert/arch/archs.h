// The architectures, each in one of the files beside this one.
#pragma once

#include "convert/arch.h"

namespace metallic::convert {

const ConvertArch& convert_llama();
const ConvertArch& convert_mistral();
const ConvertArch& convert_mixtral();
const ConvertArch& convert_smollm3();
const ConvertArch& convert_granite();
const ConvertArch& convert_granite_moe();
const ConvertArch& convert_qwen2();
const ConvertArch& convert_qwen2_moe();
const ConvertArch& convert_qwen3();
const ConvertArch& convert_qwen3_moe();
const ConvertArch& convert_gemma();
const ConvertArch& convert_gemma2();
const ConvertArch& convert_gemma3();
const ConvertArch& convert_phi3();
const ConvertArch& convert_gpt2();
const ConvertArch& convert_gpt_neox();
const ConvertArch& convert_starcoder2();
const ConvertArch& convert_stablelm();
const ConvertArch& convert_olmo2();
const ConvertArch& convert_cohere();
const ConvertArch& convert_cohere2();
const ConvertArch& convert_glm4();
const ConvertArch& convert_deepseek2();
const ConvertArch& convert_deepseek3();
const ConvertArch& convert_gpt_oss();
const ConvertArch& convert_bert();
const ConvertArch& convert_roberta();
const ConvertArch& convert_nomic_bert();
const ConvertArch& convert_nomic_bert_moe();
const ConvertArch& convert_jina_bert();
const ConvertArch& convert_modern_bert();

}  // namespace metallic::convert
