// The pre-tokenisers that are a list of expressions: each cuts every piece of the one before into matches and what is
// between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace metallic {

size_t split_starcoder(std::string_view text, uint32_t* ends);
size_t split_deepseek_llm(std::string_view text, uint32_t* ends);
size_t split_deepseek_coder(std::string_view text, uint32_t* ends);
size_t split_deepseek_v3(std::string_view text, uint32_t* ends);
size_t split_default(std::string_view text, uint32_t* ends);

// Of pretokenize.cc; several of these end with it.
size_t split_gpt2(std::string_view text, uint32_t* ends);

}  // namespace metallic
