#include "tokenizer/end_tokens.h"

#include <algorithm>
#include <array>

namespace metallic {
namespace {

constexpr auto kKnown = std::to_array<KnownToken>({
    {"<|eot_id|>", true},             // Llama 3
    {"<|eom_id|>", true},             // Llama 3.1, after a tool call
    {"<|end_of_text|>", true},        // Llama 3, Granite
    {"<|im_end|>", true},             // ChatML
    {"<|endoftext|>", true},          // GPT-2, Qwen
    {"<|end|>", true},                // Phi-3
    {"<|return|>", true},             // harmony
    {"<|call|>", true},               // harmony
    {"<end_of_turn>", true},          // Gemma
    {"<end_of_utterance>", true},     // SmolVLM
    {"<｜end▁of▁sentence｜>", true},  // DeepSeek
    {"<EOT>", true},
    {"_<EOT>", true},
    {"[EOT]", true},
    {"<|fim_pad|>", true},
    {"<fim-pad>", true},
    {"<fim_pad>", true},
    {"<|fim_repo|>", true},
    {"<|repo_name|>", true},
    {"<fim-repo>", true},
    {"<reponame>", true},
    {"<|file_sep|>", true},
    {"<|fim_prefix|>", false},
    {"<fim-prefix>", false},
    {"<fim_prefix>", false},
    {"<｜fim▁begin｜>", false},
    {"<|fim_suffix|>", false},
    {"<fim-suffix>", false},
    {"<fim_suffix>", false},
    {"<｜fim▁hole｜>", false},
    {"<|fim_middle|>", false},
    {"<fim-middle>", false},
    {"<fim_middle>", false},
    {"<｜fim▁end｜>", false},
});

}  // namespace

std::span<const KnownToken> known_tokens() { return kKnown; }

bool ends_generation_if_control(std::string_view text) { return text == "</s>" || text == "<eos>" || text == "[EOS]"; }

}  // namespace metallic
