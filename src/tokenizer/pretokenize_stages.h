// The pre-tokenisers that are a list of expressions: each cuts every piece of the one before into matches and what is
// between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizer/scan.h"

namespace metallic {

size_t split_starcoder(std::string_view text, uint32_t* ends);
size_t split_deepseek_llm(std::string_view text, uint32_t* ends);
size_t split_deepseek_coder(std::string_view text, uint32_t* ends);
size_t split_deepseek_v3(std::string_view text, uint32_t* ends);
size_t split_default(std::string_view text, uint32_t* ends);

// Of pretokenize_digits.cc: numbers are cut in groups of three, or by themselves.
size_t split_falcon(std::string_view text, uint32_t* ends);
size_t split_superbpe(std::string_view text, uint32_t* ends);
size_t split_afmoe(std::string_view text, uint32_t* ends);
size_t split_minicpm5(std::string_view text, uint32_t* ends);
size_t split_bloom(std::string_view text, uint32_t* ends);
size_t split_viking(std::string_view text, uint32_t* ends);
size_t split_laguna(std::string_view text, uint32_t* ends);

// Of pretokenize_cased.cc.
size_t split_gpt4o(std::string_view text, uint32_t* ends);
size_t split_tekken(std::string_view text, uint32_t* ends);
size_t split_kimi(std::string_view text, uint32_t* ends);
size_t split_youtu(std::string_view text, uint32_t* ends);

// Of pretokenize.cc; several of these end with one of them.
size_t split_gpt2(std::string_view text, uint32_t* ends);
size_t split_qwen2(std::string_view text, uint32_t* ends);

// The end of what the last stage of deepseek-v3 matches at p; p where it matches nothing.
const char* deepseek_v3_word(const Scanner& scan, const char* p);

}  // namespace metallic
