// Scanners over well-formed UTF-8 that the pre-tokenisers are made of.
#pragma once

#include <bit>
#include <cstring>

#include "tokenizer/unicode.h"

namespace metallic {

// One alternative of a pre-tokeniser after the other, at a position of one stretch of text.
class Scanner {
 public:
  explicit Scanner(const char* end) : table_(unicode_table()), end_(end) {}

  const char* end() const { return end_; }
  Char peek(const char* p) const { return peek_char(table_, p, end_); }
  const char* skip(const char* p) const { return p + read_char(table_, p).length; }

  // The end of the run of characters that have one of `bits`, or, below, that have none of them.
  const char* run_of(int bits, const char* p) const {
    while (p < end_) {
      const Char c = read_char(table_, p);
      if (!c.is(bits)) break;
      p += c.length;
    }
    return p;
  }
  const char* run_without(int bits, const char* p) const {
    while (p < end_) {
      const Char c = read_char(table_, p);
      if (c.is(bits)) break;
      p += c.length;
    }
    return p;
  }
  // run_of(kLetter, p), for text that is mostly ASCII: eight bytes at a time, without a branch for each.
  const char* run_of_letters(const char* p) const {
    while (end_ - p >= 8) {
      const uint64_t others = bytes_without_letters(p);
      if (others != 0) {
        p += std::countr_zero(others) / 8;
        return uint8_t(*p) < 0x80 ? p : run_of(kLetter, p);
      }
      p += 8;
    }
    return run_of(kLetter, p);
  }
  const char* run_of_newlines(const char* p) const {
    while (p < end_ && (*p == '\n' || *p == '\r')) ++p;
    return p;
  }

  // 's|'t|'re|'ve|'m|'ll|'d at an apostrophe: the end of the match, or p. Upper case too if `any_case`; U+017F is then
  // an s.
  const char* contraction(const char* p, bool any_case) const {
    if (end_ - p < 2) return p;
    const int fold = any_case ? 0x20 : 0;
    const int first = fold_letter(p[1], fold);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return p + 2;
    if (end_ - p < 3) return p;
    if (any_case && p[1] == '\xc5' && p[2] == '\xbf') return p + 3;
    const int second = fold_letter(p[2], fold);
    const bool match = (second == 'e' && (first == 'r' || first == 'v')) || (first == 'l' && second == 'l');
    return match ? p + 3 : p;
  }

  // \s*[\r\n]+|\s+(?!\S)|\s+ at a white space. Without `newlines` the first alternative is left out.
  const char* white_space(const char* p, bool newlines) const {
    const char* last = p;           // start of the last character of the run
    const char* newline = nullptr;  // behind the last newline of the run
    const char* q = p;
    for (Char c = peek(q); c.is(kSpace); c = peek(q)) {
      last = q;
      q += c.length;
      if (c.code_point == '\n' || c.code_point == '\r') newline = q;
    }
    if (newlines && newline != nullptr) return newline;
    return q == end_ || last == p ? q : last;
  }

 private:
  // The top bit of each of the eight bytes at p that is no ASCII letter; the first byte is the lowest.
  static uint64_t bytes_without_letters(const char* p) {
    constexpr uint64_t kOnes = 0x0101010101010101, kHighBits = 0x80 * kOnes;
    uint64_t bytes = 0;
    std::memcpy(&bytes, p, sizeof bytes);
    const uint64_t lower = (bytes | 0x20 * kOnes) & ~kHighBits;
    const uint64_t from_a = lower + (0x80 - 'a') * kOnes, behind_z = lower + (0x80 - 'z' - 1) * kOnes;
    return (~from_a | behind_z | bytes) & kHighBits;
  }
  static int fold_letter(char c, int fold) { return fold != 0 && c >= 'A' && c <= 'Z' ? c | fold : c; }

  const UnicodeTable& table_;
  const char* end_;
};

}  // namespace metallic
