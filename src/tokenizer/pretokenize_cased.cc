// The pre-tokenisers of GPT-4o and what descends from it: a word ends where a lower-case letter is followed by an
// upper-case one.
#include <array>
#include <vector>

#include "tokenizer/pretokenize_stages.h"
#include "tokenizer/scan.h"
#include "tokenizer/stages.h"

namespace metallic {
namespace {

struct CasedStyle {
  int digits;             // in a number
  bool contractions;      // belong to the word before
  bool slashes;           // belong to the marks before, as newlines do
  bool ideographs_apart;  // runs of Han characters are words of their own
};

// \p{Han}
constexpr auto kHan = std::to_array<Range>(
    {{0x2e80, 0x2e99},   {0x2e9b, 0x2ef3},   {0x2f00, 0x2fd5},   {0x3005, 0x3005},   {0x3007, 0x3007},
     {0x3021, 0x3029},   {0x3038, 0x303b},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfa6d},
     {0xfa70, 0xfad9},   {0x16fe2, 0x16fe3}, {0x16ff0, 0x16ff6}, {0x20000, 0x2a6df}, {0x2a700, 0x2b81e},
     {0x2b820, 0x2cead}, {0x2ceb0, 0x2ebe0}, {0x2ebf0, 0x2ee5d}, {0x2f800, 0x2fa1d}, {0x30000, 0x3134a},
     {0x31350, 0x33479}});

bool is_han(Char c) { return c.code_point >= 0x2e80 && in_ranges(kHan, c.code_point); }

// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}]: letters without case, and marks, are in both.
template <CasedStyle kStyle>
bool may_lead(Char c) {
  const bool member = (c.is(kLetter) && !c.is(kLower)) || c.is(kMark);
  return member && !(kStyle.ideographs_apart && is_han(c));
}
template <CasedStyle kStyle>
bool may_follow(Char c) {
  const bool member = (c.is(kLetter) && !c.is(kUpper)) || c.is(kMark);
  return member && !(kStyle.ideographs_apart && is_han(c));
}

// lead* follow+ or, where that matches nothing, lead+ follow*; p where neither does.
template <CasedStyle kStyle>
const char* cased_word(const Scanner& scan, const char* p) {
  const char* behind_caseless = nullptr;  // the last character that may both lead and follow
  Char c = scan.peek(p);
  for (; may_lead<kStyle>(c); c = scan.peek(p)) {
    p += c.length;
    if (!c.is(kUpper)) behind_caseless = p;
  }
  if (may_follow<kStyle>(c)) {
    do {
      p += c.length;
      c = scan.peek(p);
    } while (may_follow<kStyle>(c));
    return p;
  }
  return behind_caseless != nullptr ? behind_caseless : p;
}

template <CasedStyle kStyle>
const char* with_contraction(const Scanner& scan, const char* p) {
  return kStyle.contractions && p < scan.end() && *p == '\'' ? scan.contraction(p, true) : p;
}

template <CasedStyle kStyle>
const char* behind_marks(const Scanner& scan, const char* p) {
  while (p < scan.end() && (*p == '\n' || *p == '\r' || (kStyle.slashes && *p == '/'))) ++p;
  return p;
}

// [^\r\n\p{L}\p{N}]? word contraction? | \p{N}{1,digits} | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
template <CasedStyle kStyle>
const char* next_cased(const Scanner& scan, const char* p) {
  const Char c = scan.peek(p);
  const char* const behind = p + c.length;
  if (kStyle.ideographs_apart && is_han(c)) {
    const char* q = behind;
    for (Char next = scan.peek(q); is_han(next); next = scan.peek(q)) q += next.length;
    return q;
  }
  // A mark may stand in front of a word, and is part of one: the longest match is the same.
  if (c.is(kLetter | kMark)) return with_contraction<kStyle>(scan, cased_word<kStyle>(scan, p));
  if (c.is(kNumber)) {
    const char* q = behind;
    for (int digits = 1; digits < kStyle.digits; ++digits) {
      const Char digit = scan.peek(q);
      if (!digit.is(kNumber)) break;
      q += digit.length;
    }
    return q;
  }
  if (c.code_point != '\n' && c.code_point != '\r') {
    const char* word = cased_word<kStyle>(scan, behind);
    if (word != behind) return with_contraction<kStyle>(scan, word);
    const Char next = scan.peek(behind);
    const bool marks_follow = next.length != 0 && !next.is(kSpace | kLetter | kNumber);
    if (!c.is(kSpace) || (c.code_point == ' ' && marks_follow))
      return behind_marks<kStyle>(scan, scan.run_without(kSpace | kLetter | kNumber, behind));
  }
  return scan.white_space(p, true);
}

template <CasedStyle kStyle>
size_t split_cased(std::string_view text, uint32_t* ends) {
  const Scanner scan(text.data() + text.size());
  size_t count = 0;
  for (const char* p = text.data(); p < scan.end();) {
    p = next_cased<kStyle>(scan, p);
    ends[count++] = uint32_t(p - text.data());
  }
  return count;
}

constexpr CasedStyle kGpt4o = {.digits = 3, .contractions = true, .slashes = true, .ideographs_apart = false};
constexpr CasedStyle kTekken = {.digits = 1, .contractions = false, .slashes = true, .ideographs_apart = false};
constexpr CasedStyle kYoutu = {.digits = 1, .contractions = true, .slashes = true, .ideographs_apart = false};
constexpr CasedStyle kKimi = {.digits = 3, .contractions = true, .slashes = false, .ideographs_apart = true};

// [가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+
const char* youtu_run(const Scanner& scan, const char* p) {
  const auto kind = [](uint32_t c) {
    const auto in = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
    if (in(0xac00, 0xd7a3) || in(0x3131, 0x318e)) return 1;
    if (in(0x3001, 0x303f) || in(0xfe30, 0xfe4f) || c == 0xff01 || c == 0x2026 || in(0x2018, 0x2019) ||
        in(0x201c, 0x201d) || c == 0x2014 || c == 0xff1a || c == 0xff1b || c == 0xff0c)
      return 2;
    if (in(0x3105, 0x312f)) return 3;
    return in(0x4e00, 0x9fa5) || in(0x3040, 0x30ff) ? 4 : 0;
  };
  Char c = scan.peek(p);
  const int first = kind(c.code_point);
  while (first != 0 && kind(c.code_point) == first) c = scan.peek(p += c.length);
  return p;
}

}  // namespace

size_t split_gpt4o(std::string_view text, uint32_t* ends) { return split_cased<kGpt4o>(text, ends); }
size_t split_tekken(std::string_view text, uint32_t* ends) { return split_cased<kTekken>(text, ends); }
size_t split_kimi(std::string_view text, uint32_t* ends) { return split_cased<kKimi>(text, ends); }

// youtu_run, then GPT-4o's with single digits
size_t split_youtu(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  std::vector<uint32_t> scratch(text.size());
  const auto split_words = [&](const char* b, const char* e) {
    split_stage(split_cased<kYoutu>, b, e, scratch.data(), emit);
  };
  isolate(text.data(), text.data() + text.size(), youtu_run, split_words);
  return emit.count;
}

}  // namespace metallic
