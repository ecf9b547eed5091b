#include "tokenizer/pretokenize_stages.h"

#include <algorithm>
#include <array>
#include <vector>

#include "tokenizer/scan.h"
#include "tokenizer/stages.h"

namespace metallic {
namespace {

// \s?X+ where X is what `is_member` says of a Char.
template <class IsMember>
const char* optional_space_run(const Scanner& scan, const char* p, IsMember is_member) {
  Char c = scan.peek(p);
  const char* q = p;
  if (!is_member(c) && c.is(kSpace)) c = scan.peek(q += c.length);
  if (!is_member(c)) return p;
  do {
    q += c.length;
    c = scan.peek(q);
  } while (is_member(c));
  return q;
}

// The letters of deepseek-llm's expression: those of scripts with case, as of its Unicode version, without modifiers.
constexpr auto kCasedLetters = std::to_array<Range>(
    {{'A', 'Z'},         {'a', 'z'},         {0xb5, 0xb5},       {0xc0, 0xd6},       {0xd8, 0xf6},
     {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},     {0x295, 0x2af},     {0x370, 0x373},
     {0x376, 0x377},     {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},
     {0x38c, 0x38c},     {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
     {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},   {0x1c90, 0x1cba},
     {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},
     {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
     {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
     {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},   {0x1fd6, 0x1fdb},
     {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},
     {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},
     {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
     {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},   {0x2c7e, 0x2ce4},
     {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},   {0xa722, 0xa76f},
     {0xa771, 0xa787},   {0xa78b, 0xa78e},   {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
     {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
     {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943}});
static_assert(std::ranges::is_sorted(kCasedLetters, {}, &Range::first));

// [!-/:-~！-／：-～‘-‟　-。]
constexpr auto kWideMarks = std::to_array<Range>(
    {{'!', '/'}, {':', '~'}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e}});

bool is_cased_letter(Char c) { return c.length != 0 && in_ranges(kCasedLetters, c.code_point); }
bool is_wide_mark(Char c) { return c.length != 0 && in_ranges(kWideMarks, c.code_point); }

const char* one_newline(const Scanner&, const char* p) { return p + (*p == '\n' || *p == '\r'); }
const char* numbers(const Scanner& scan, const char* p) { return scan.run_of(kNumber, p); }
const char* one_number(const Scanner& scan, const char* p) {
  const Char c = scan.peek(p);
  return p + (c.is(kNumber) ? c.length : 0);
}

// [一-龥ࠀ-一가-퟿]+, which is all of U+0800 to U+9FA5 and the Hangul syllables with what follows them.
const char* east_asian(const Scanner& scan, const char* p) {
  for (Char c = scan.peek(p);; c = scan.peek(p)) {
    const bool member =
        (c.code_point >= 0x800 && c.code_point <= 0x9fa5) || (c.code_point >= 0xac00 && c.code_point <= 0xd7ff);
    if (!member) return p;
    p += c.length;
  }
}

// [一-龥぀-ゟ゠-ヿ]+
const char* han_and_kana(const Scanner& scan, const char* p) {
  for (Char c = scan.peek(p);; c = scan.peek(p)) {
    const bool member =
        (c.code_point >= 0x4e00 && c.code_point <= 0x9fa5) || (c.code_point >= 0x3040 && c.code_point <= 0x30ff);
    if (!member) return p;
    p += c.length;
  }
}

// \s+$: where the white space at the end of [begin, end) starts. Before a newline `$` holds too, but there none is
// left.
const char* trailing_space(const char* begin, const char* end) {
  const Scanner scan(end);
  const char* start = nullptr;
  for (const char* p = begin; p < end;) {
    const Char c = scan.peek(p);
    if (!c.is(kSpace)) start = nullptr;
    if (c.is(kSpace) && start == nullptr) start = p;
    p += c.length;
  }
  return start != nullptr ? start : end;
}

bool is_ascii_letter(Char c) { return c.code_point < 0x80 && c.is(kLetter); }

// [\p{P}\$\+<=>\^~\|]+
const char* default_marks(const Scanner& scan, const char* p) {
  for (Char c = scan.peek(p);; c = scan.peek(p)) {
    const bool listed = c.code_point < 0x80 && c.is(kSymbol) && c.code_point != '`';
    if (!c.is(kPunctuation) && !listed) return p;
    p += c.length;
  }
}

// [0-9][0-9][0-9]
const char* three_digits(const Scanner& scan, const char* p) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return scan.end() - p >= 3 && digit(p[0]) && digit(p[1]) && digit(p[2]) ? p + 3 : p;
}

}  // namespace

// [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+
const char* deepseek_v3_word(const Scanner& scan, const char* p) {
  const Char c = scan.peek(p);
  const Char next = scan.peek(p + c.length);
  if (c.code_point < 0x80 && c.is(kPunctuation | kSymbol) && is_ascii_letter(next)) {
    const char* q = p + 1;
    while (is_ascii_letter(scan.peek(q))) ++q;
    return q;
  }
  if (c.is(kLetter | kMark)) return scan.run_of(kLetter | kMark, p);
  const bool newline = c.code_point == '\n' || c.code_point == '\r';
  if (!newline && !c.is(kPunctuation | kSymbol) && next.is(kLetter | kMark)) {
    return scan.run_of(kLetter | kMark, p + c.length);
  }
  if (c.is(kPunctuation | kSymbol) || (c.code_point == ' ' && next.is(kPunctuation | kSymbol))) {
    return scan.run_of_newlines(scan.run_of(kPunctuation | kSymbol, p + c.length));
  }
  return c.is(kSpace) ? scan.white_space(p, true) : p;
}

// \p{N}, then gpt-2.
size_t split_starcoder(std::string_view text, uint32_t* ends) {
  const char* const base = text.data();
  const Scanner scan(base + text.size());
  size_t count = 0;
  for (const char* p = base; p < scan.end();) {
    const char* stretch_end = scan.run_without(kNumber, p);
    const size_t added = split_gpt2({p, size_t(stretch_end - p)}, ends + count);
    for (size_t i = 0; i < added; ++i) ends[count + i] += uint32_t(p - base);
    count += added;
    p = stretch_end;
    for (Char c = scan.peek(p); c.is(kNumber); c = scan.peek(p)) {
      p += c.length;
      ends[count++] = uint32_t(p - base);
    }
  }
  return count;
}

// [\r\n], \s?[cased letters]+, \s?[marks]+, \s+$, east_asian, \p{N}+
size_t split_deepseek_llm(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  const auto letters = [](const Scanner& scan, const char* p) { return optional_space_run(scan, p, is_cased_letter); };
  const auto marks = [](const Scanner& scan, const char* p) { return optional_space_run(scan, p, is_wide_mark); };
  const auto split_numbers = [&](const char* b, const char* e) { isolate(b, e, numbers, emit); };
  const auto split_east_asian = [&](const char* b, const char* e) { isolate(b, e, east_asian, split_numbers); };
  const auto split_space = [&](const char* b, const char* e) {
    const char* space = trailing_space(b, e);
    if (b < space) split_east_asian(b, space);
    if (space < e) split_east_asian(space, e);
  };
  const auto split_marks = [&](const char* b, const char* e) { isolate(b, e, marks, split_space); };
  const auto split_letters = [&](const char* b, const char* e) { isolate(b, e, letters, split_marks); };
  isolate(text.data(), text.data() + text.size(), one_newline, split_letters);
  return emit.count;
}

// [\r\n], \s?\p{L}+, \s?\p{P}+, east_asian, \p{N}
size_t split_deepseek_coder(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  const auto letters = [](const Scanner& scan, const char* p) {
    return optional_space_run(scan, p, [](Char c) { return c.is(kLetter); });
  };
  const auto marks = [](const Scanner& scan, const char* p) {
    return optional_space_run(scan, p, [](Char c) { return c.is(kPunctuation); });
  };
  const auto split_numbers = [&](const char* b, const char* e) { isolate(b, e, one_number, emit); };
  const auto split_east_asian = [&](const char* b, const char* e) { isolate(b, e, east_asian, split_numbers); };
  const auto split_marks = [&](const char* b, const char* e) { isolate(b, e, marks, split_east_asian); };
  const auto split_letters = [&](const char* b, const char* e) { isolate(b, e, letters, split_marks); };
  isolate(text.data(), text.data() + text.size(), one_newline, split_letters);
  return emit.count;
}

// \p{N}{1,3}, han_and_kana, deepseek_v3_word
size_t split_deepseek_v3(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  const auto up_to_three_numbers = [](const Scanner& scan, const char* p) {
    for (int i = 0; i < 3; ++i) p = one_number(scan, p);
    return p;
  };
  const auto split_words = [&](const char* b, const char* e) { isolate(b, e, deepseek_v3_word, emit); };
  const auto split_han = [&](const char* b, const char* e) { isolate(b, e, han_and_kana, split_words); };
  isolate(text.data(), text.data() + text.size(), up_to_three_numbers, split_han);
  return emit.count;
}

// [\p{P}\$\+<=>\^~\|]+, gpt-2, \p{N}+, [0-9][0-9][0-9]. For files that name no pre-tokeniser.
size_t split_default(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  std::vector<uint32_t> scratch(text.size());
  const auto split_digits = [&](const char* b, const char* e) { isolate(b, e, three_digits, emit); };
  const auto split_numbers = [&](const char* b, const char* e) { isolate(b, e, numbers, split_digits); };
  const auto split_words = [&](const char* b, const char* e) {
    split_stage(split_gpt2, b, e, scratch.data(), split_numbers);
  };
  isolate(text.data(), text.data() + text.size(), default_marks, split_words);
  return emit.count;
}

}  // namespace metallic
