#include "tokenizer/pretokenize.h"

#include <algorithm>
#include <array>

#include "tokenizer/pretokenize_stages.h"
#include "tokenizer/scan.h"

namespace metallic {
namespace {

// '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
const char* next_gpt2(const Scanner& scan, const char* p) {
  if (*p == '\'') {
    if (const char* q = scan.contraction(p, false); q != p) return q;
  }
  const char* q = *p == ' ' && p + 1 < scan.end() ? p + 1 : p;
  const Char c = scan.peek(q);
  if (c.is(kLetter)) return scan.run_of_letters(q + c.length);
  if (c.is(kNumber)) return scan.run_of(kNumber, q + c.length);
  if (!c.is(kSpace)) return scan.run_without(kSpace | kLetter | kNumber, q + c.length);
  return scan.white_space(p, false);
}

template <int kWord>
const char* word_run(const Scanner& scan, const char* p) {
  return kWord == kLetter ? scan.run_of_letters(p) : scan.run_of(kWord, p);
}

struct WordStyle {
  int digits = 3;                   // in a number
  int word = kLetter;               // what words are made of
  bool contractions = true;         // 's|'t|'re|'ve|'m|'ll|'d, in any case
  bool newlines_with_marks = true;  // [^\s\p{L}\p{N}]+ takes the newlines behind it, too
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// with the style's number of digits for 3, and its letters, or letters and marks, for \p{L}.
template <WordStyle kStyle>
const char* next_llama3(const Scanner& scan, const char* p) {
  constexpr int kWord = kStyle.word;
  if (kStyle.contractions && *p == '\'') {
    if (const char* q = scan.contraction(p, true); q != p) return q;
  }
  const Char c = scan.peek(p);
  const char* q = p + c.length;
  if (c.is(kWord)) return word_run<kWord>(scan, q);
  if (c.is(kNumber)) {
    for (int digits = 1; digits < kStyle.digits; ++digits) {
      const Char digit = scan.peek(q);
      if (!digit.is(kNumber)) break;
      q += digit.length;
    }
    return q;
  }
  if (c.code_point != '\n' && c.code_point != '\r') {
    const Char next = scan.peek(q);
    if (next.is(kWord)) return word_run<kWord>(scan, q + next.length);
    const bool other_follows = next.length != 0 && !next.is(kSpace | kWord | kNumber);
    if (!c.is(kSpace) || (c.code_point == ' ' && other_follows)) {
      q = scan.run_without(kSpace | kWord | kNumber, q);
      return kStyle.newlines_with_marks ? scan.run_of_newlines(q) : q;
    }
  }
  return scan.white_space(p, true);
}

template <const char* (*kNext)(const Scanner&, const char*)>
size_t split_by(std::string_view text, uint32_t* ends) {
  const Scanner scan(text.data() + text.size());
  size_t count = 0;
  for (const char* p = text.data(); p < scan.end();) {
    p = kNext(scan, p);
    ends[count++] = uint32_t(p - text.data());
  }
  return count;
}

struct NamedPreTokenizer {
  std::string_view name;
  PreTokenizer split;
};

constexpr WordStyle kOneDigit = {.digits = 1};
constexpr WordStyle kOneDigitAndMarks = {.digits = 1, .word = kLetter | kMark};
constexpr WordStyle kNoContractions = {.digits = 1, .contractions = false};
constexpr WordStyle kNewlinesApart = {.digits = 1, .newlines_with_marks = false};

constexpr PreTokenizer kGpt2 = split_by<next_gpt2>;
constexpr PreTokenizer kLlama3 = split_by<next_llama3<WordStyle{}>>;
constexpr PreTokenizer kQwen2 = split_by<next_llama3<kOneDigit>>;
constexpr PreTokenizer kQwen35 = split_by<next_llama3<kOneDigitAndMarks>>;
constexpr PreTokenizer kUfakzeka = split_by<next_llama3<kNoContractions>>;
constexpr PreTokenizer kSeedCoder = split_by<next_llama3<kNewlinesApart>>;

// By name, as find_pre_tokenizer searches it.
constexpr auto kPreTokenizers = std::to_array<NamedPreTokenizer>({
    {"a.x-4.0", kGpt2},
    {"afmoe", split_afmoe},
    {"bailingmoe", kQwen2},
    {"bailingmoe2", kQwen2},
    {"bloom", split_bloom},
    {"chatglm-bpe", kLlama3},
    {"codeshell", split_starcoder},
    {"command-r", split_starcoder},
    {"dbrx", kLlama3},
    {"deepseek-coder", split_deepseek_coder},
    {"deepseek-llm", split_deepseek_llm},
    {"deepseek-r1-qwen", kQwen2},
    {"deepseek-v3", split_deepseek_v3},
    {"default", split_default},
    {"exaone", split_starcoder},
    {"exaone4", kGpt2},
    {"f2llmv2", kQwen2},
    {"falcon", split_falcon},
    {"falcon-h1", kLlama3},
    {"falcon3", kLlama3},
    {"gigachat", kGpt2},
    {"glm4", kLlama3},
    {"gpt-2", kGpt2},
    {"gpt-4o", split_gpt4o},
    {"gpt3-finnish", split_bloom},
    {"granite-docling", kGpt2},
    {"granite-embed-multi-97m", split_gpt4o},
    {"grok-2", kQwen2},
    {"hunyuan", kQwen2},
    {"hunyuan-dense", split_deepseek_v3},
    {"hy_v4", split_deepseek_v3},
    {"jais", kGpt2},
    {"jina-de", kGpt2},
    {"jina-es", kGpt2},
    {"jina-v1-en", kGpt2},
    {"jina-v2-code", kGpt2},
    {"jina-v2-de", kGpt2},
    {"jina-v2-es", kGpt2},
    {"jina-v5-nano", kLlama3},
    {"joyai-llm", split_deepseek_v3},
    {"kanana2", split_gpt4o},
    {"kimi-k2", split_kimi},
    {"kormo", kQwen2},
    {"laguna", split_laguna},
    {"lfm2", kLlama3},
    {"llada-moe", kQwen2},
    {"llama-bpe", kLlama3},
    {"llama-v3", kLlama3},
    {"llama3", kLlama3},
    {"llama4", split_gpt4o},
    {"megrez", kQwen2},
    {"mellum", kGpt2},
    {"mellum2", split_starcoder},
    {"midm-2.0", kLlama3},
    {"minerva-7b", split_starcoder},
    {"minicpm5", split_minicpm5},
    {"minimax-m2", split_gpt4o},
    {"modern-bert", kGpt2},
    {"mpt", kGpt2},
    {"olmo", kGpt2},
    {"phi-2", kGpt2},
    {"pixtral", kLlama3},
    {"poro-chat", split_bloom},
    {"qwen2", kQwen2},
    {"qwen35", kQwen35},
    {"refact", split_starcoder},
    {"roberta-bpe", kGpt2},
    {"seed-coder", kSeedCoder},
    {"smaug-bpe", kLlama3},
    {"smollm", split_starcoder},
    {"solar-open", kQwen2},
    {"stablelm2", kQwen2},
    {"starcoder", split_starcoder},
    {"superbpe", split_superbpe},
    {"talkie", split_gpt4o},
    {"tekken", split_tekken},
    {"trillion", kGpt2},
    {"ufakzeka", kUfakzeka},
    {"viking", split_viking},
    {"youtu", split_youtu},
});
static_assert(std::ranges::is_sorted(kPreTokenizers, std::ranges::less_equal{}, &NamedPreTokenizer::name));

}  // namespace

size_t split_gpt2(std::string_view text, uint32_t* ends) { return kGpt2(text, ends); }
size_t split_qwen2(std::string_view text, uint32_t* ends) { return kQwen2(text, ends); }

PreTokenizer find_pre_tokenizer(std::string_view name) {
  const auto found = std::ranges::lower_bound(kPreTokenizers, name, {}, &NamedPreTokenizer::name);
  return found != kPreTokenizers.end() && found->name == name ? found->split : nullptr;
}

std::string pre_tokenizer_names() {
  std::string names;
  for (const NamedPreTokenizer& entry : kPreTokenizers) {
    if (!names.empty()) names += ", ";
    names += entry.name;
  }
  return names;
}

}  // namespace metallic
