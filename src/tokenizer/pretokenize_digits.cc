// Pre-tokenisers in stages that treat numbers, or lines, before all else.
#include <array>
#include <vector>

#include "tokenizer/pretokenize_stages.h"
#include "tokenizer/stages.h"

namespace metallic {
namespace {

// \d: where each ten digits of Unicode 16 begin.
constexpr auto kTens = std::to_array<uint32_t>(
    {0x30,    0x660,   0x6f0,   0x7c0,   0x966,   0x9e6,   0xa66,   0xae6,   0xb66,   0xbe6,   0xc66,
     0xce6,   0xd66,   0xde6,   0xe50,   0xed0,   0xf20,   0x1040,  0x1090,  0x17e0,  0x1810,  0x1946,
     0x19d0,  0x1a80,  0x1a90,  0x1b50,  0x1bb0,  0x1c40,  0x1c50,  0xa620,  0xa8d0,  0xa900,  0xa9d0,
     0xa9f0,  0xaa50,  0xabf0,  0xff10,  0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0,
     0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0,
     0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce,
     0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0});
static_assert(std::ranges::is_sorted(kTens));

bool is_digit(Char c) {
  const auto after = std::ranges::upper_bound(kTens, c.code_point);
  return c.is(kNumber) && after != kTens.begin() && c.code_point < *std::prev(after) + 10;
}
bool is_number(Char c) { return c.is(kNumber); }

const char* numbers(const Scanner& scan, const char* p) { return scan.run_of(kNumber, p); }
const char* number(const Scanner& scan, const char* p) {
  const Char c = scan.peek(p);
  return c.is(kNumber) ? p + c.length : p;
}
const char* up_to_three_numbers(const Scanner& scan, const char* p) {
  for (int i = 0; i < 3; ++i) p = number(scan, p);
  return p;
}

// [0-9][0-9][0-9]
const char* three_ascii_digits(const Scanner& scan, const char* p) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return scan.end() - p >= 3 && digit(p[0]) && digit(p[1]) && digit(p[2]) ? p + 3 : p;
}

// [\p{P}\$\+<=>\^~\|`]+
const char* falcon_marks(const Scanner& scan, const char* p) {
  for (Char c = scan.peek(p); c.is(kPunctuation) || (c.code_point < 0x80 && c.is(kSymbol)); c = scan.peek(p))
    p += c.length;
  return p;
}

// Cuts each run of members in [begin, end) into threes, of which only the first may be short, and hands those and the
// stretches between the runs to `next`. If not `apart`, what is short stays with the stretch before it.
template <class IsMember, class Next>
void group_in_threes(const char* begin, const char* end, IsMember is_member, bool apart, Next&& next) {
  const Scanner scan(end);
  const char* start = begin;  // of the piece that is not handed on yet
  const auto cut = [&](const char* p) {
    if (start < p) next(start, p);
    start = p;
  };
  for (const char* p = begin; p < end;) {
    const char* run_end = p;
    size_t count = 0;
    for (Char c = scan.peek(run_end); is_member(c); c = scan.peek(run_end)) {
      run_end += c.length;
      ++count;
    }
    if (count == 0) {
      p = scan.skip(p);
      continue;
    }
    if (apart) cut(p);
    for (size_t left = count; left > 0; --left, p = scan.skip(p)) {
      if (left % 3 == 0) cut(p);
    }
    if (apart) cut(p);
  }
  cut(end);
}

// [一-鿿㐀-䶿\uf900-\ufaff぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+
constexpr auto kWithoutSpaces = std::to_array<Range>({{0xe40, 0xeff},
                                                      {0x1000, 0x109f},
                                                      {0x1100, 0x11ff},
                                                      {0x1780, 0x17ff},
                                                      {0x2f00, 0x2fdf},
                                                      {0x3040, 0x30ff},
                                                      {0x3400, 0x4dbf},
                                                      {0x4e00, 0x9fff},
                                                      {0xa9e0, 0xa9ff},
                                                      {0xaa60, 0xaa7f},
                                                      {0xac00, 0xd7af},
                                                      {0xf900, 0xfaff},
                                                      {0xff65, 0xff9f}});
static_assert(std::ranges::is_sorted(kWithoutSpaces, {}, &Range::first));

const char* without_spaces(const Scanner& scan, const char* p) {
  for (Char c = scan.peek(p); c.length != 0 && in_ranges(kWithoutSpaces, c.code_point); c = scan.peek(p)) p += c.length;
  return p;
}

// " ?[^(\s|.,!?…。，、।۔،)]+"
const char* bloom_word(const Scanner& scan, const char* p) {
  const auto is_member = [](Char c) {
    switch (c.code_point) {
      case '(':
      case ')':
      case '|':
      case '.':
      case ',':
      case '!':
      case '?':
      case 0x2026:
      case 0x3002:
      case 0xff0c:
      case 0x3001:
      case 0x964:
      case 0x6d4:
      case 0x60c:
        return false;
      default:
        return c.length != 0 && !c.is(kSpace);
    }
  };
  Char c = scan.peek(p);
  const char* q = p;
  if (c.code_point == ' ' && c.length != 0) c = scan.peek(++q);
  if (!is_member(c)) return p;
  for (; is_member(c); c = scan.peek(q)) q += c.length;
  return q;
}

// [^\n]+|[\n]+
const char* line_or_newlines(const Scanner& scan, const char* p) {
  const bool newlines = *p == '\n';
  while (p < scan.end() && (*p == '\n') == newlines) ++p;
  return p;
}

}  // namespace

// falcon_marks, gpt-2, [0-9][0-9][0-9]
size_t split_falcon(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  std::vector<uint32_t> scratch(text.size());
  const auto split_digits = [&](const char* b, const char* e) { isolate(b, e, three_ascii_digits, emit); };
  const auto split_words = [&](const char* b, const char* e) {
    split_stage(split_gpt2, b, e, scratch.data(), split_digits);
  };
  isolate(text.data(), text.data() + text.size(), falcon_marks, split_words);
  return emit.count;
}

// \p{N}+, (?=(\d{3})+(?!\d)): nothing but numbers is cut.
size_t split_superbpe(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  const auto group = [&](const char* b, const char* e) { group_in_threes(b, e, is_digit, false, emit); };
  isolate(text.data(), text.data() + text.size(), numbers, group);
  return emit.count;
}

// \p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})), without_spaces, deepseek_v3_word
size_t split_afmoe(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  const auto split_words = [&](const char* b, const char* e) { isolate(b, e, deepseek_v3_word, emit); };
  const auto split_scripts = [&](const char* b, const char* e) { isolate(b, e, without_spaces, split_words); };
  group_in_threes(text.data(), text.data() + text.size(), is_number, true, split_scripts);
  return emit.count;
}

// \p{N}{1,3}, qwen2
size_t split_minicpm5(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  std::vector<uint32_t> scratch(text.size());
  const auto is_digits = [](const char* b, const char* e) { return number(Scanner(e), b) != b; };
  const auto split_words = [&](const char* b, const char* e) {
    if (is_digits(b, e))
      emit(b, e);
    else
      split_stage(split_qwen2, b, e, scratch.data(), emit);
  };
  isolate(text.data(), text.data() + text.size(), up_to_three_numbers, split_words);
  return emit.count;
}

size_t split_bloom(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  isolate(text.data(), text.data() + text.size(), bloom_word, emit);
  return emit.count;
}

// bloom, \p{N}
size_t split_viking(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  const auto split_numbers = [&](const char* b, const char* e) { isolate(b, e, number, emit); };
  isolate(text.data(), text.data() + text.size(), bloom_word, split_numbers);
  return emit.count;
}

// [^\n]+|[\n]+, qwen2
size_t split_laguna(std::string_view text, uint32_t* ends) {
  Emit emit{text.data(), ends};
  std::vector<uint32_t> scratch(text.size());
  const auto split_words = [&](const char* b, const char* e) { split_stage(split_qwen2, b, e, scratch.data(), emit); };
  isolate(text.data(), text.data() + text.size(), line_or_newlines, split_words);
  return emit.count;
}

}  // namespace metallic
