#include "tokenizer/bert_text.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace metallic {
namespace {

// The bits of a class, as tools/make-bert-tables.py has them.
constexpr int kDropped = 1;      // a control character
constexpr int kWhiteSpace = 2;   // ends a word
constexpr int kPunctuated = 4;   // a word of its own
constexpr int kIdeograph = 8;    // the same
constexpr int kAccent = 16;      // nothing, where accents are stripped
constexpr int kDecomposes = 32;  // something else, where accents are stripped
constexpr int kHasLower = 64;    // something else in lower case

struct Mapping {
  uint32_t code_point;
  uint64_t result;  // up to three code points of 21 bits, the first lowest
};

#include "tokenizer/bert_tables.inc"

static_assert(std::ranges::is_sorted(kDecomposed, {}, &Mapping::code_point));
static_assert(std::ranges::is_sorted(kLower, {}, &Mapping::code_point));

const UnicodeTable& bert_classes() {
  static const std::unique_ptr<UnicodeTable> table = expand_class_ranges(kBertClasses);
  return *table;
}

template <size_t kCount>
uint64_t result_of(const Mapping (&mappings)[kCount], uint32_t code_point) {
  return std::ranges::lower_bound(mappings, code_point, {}, &Mapping::code_point)->result;
}

// A Hangul syllable to its two or three letters (The Unicode Standard, section 3.12).
uint64_t decompose_hangul(uint32_t syllable) {
  const uint64_t index = syllable - 0xac00;
  const uint64_t lead = 0x1100 + index / 588, vowel = 0x1161 + index % 588 / 28, tail = index % 28;
  return lead | vowel << 21 | (tail == 0 ? 0 : (0x11a7 + tail) << 42);
}

class WordCutter {
 public:
  WordCutter(const BertTextOptions& options, std::string& words, Scratch<uint32_t>& ends)
      : classes_(bert_classes()), options_(options), words_(words), ends_(ends) {}

  void cut(std::string_view text) {
    const char* const end = text.data() + text.size();
    for (const char* p = text.data(); p < end;) {
      const Char c = read_char(classes_, p);
      p += c.length;
      if (c.is(kWhiteSpace)) {
        end_word();
      } else if (!c.is(kDropped)) {
        if (c.is(kIdeograph)) end_word();
        add(c.code_point, c.classes);
        if (c.is(kIdeograph)) end_word();
      }
    }
    end_word();
  }

 private:
  void end_word() {
    if (in_word_) ends_.push_back(uint32_t(words_.size()));
    in_word_ = false;
  }

  void add(uint32_t code_point, int classes) {
    if (options_.strip_accents && (classes & (kAccent | kDecomposes)) != 0) {
      if ((classes & kAccent) != 0) return;
      const bool hangul = code_point >= 0xac00 && code_point < 0xd7a4;
      uint64_t parts = hangul ? decompose_hangul(code_point) : result_of(kDecomposed, code_point);
      for (; parts != 0; parts >>= 21) add_lower(uint32_t(parts & 0x1fffff));
    } else {
      add_lower(code_point, classes);
    }
  }
  void add_lower(uint32_t code_point) { add_lower(code_point, classes_.at(code_point)); }
  void add_lower(uint32_t code_point, int classes) {
    if (!options_.lowercase || (classes & kHasLower) == 0) return put(code_point, classes);
    for (uint64_t parts = result_of(kLower, code_point); parts != 0; parts >>= 21) {
      const uint32_t part = uint32_t(parts & 0x1fffff);
      put(part, classes_.at(part));
    }
  }

  void put(uint32_t code_point, int classes) {
    const bool alone = (classes & kPunctuated) != 0;
    if (alone) end_word();
    if (!in_word_) words_ += ' ';
    in_word_ = true;
    if (code_point < 0x80)
      words_ += char(code_point);
    else
      append_utf8(words_, code_point);
    if (alone) end_word();
  }

  const UnicodeTable& classes_;
  const BertTextOptions options_;
  std::string& words_;
  Scratch<uint32_t>& ends_;
  bool in_word_ = false;
};

}  // namespace

void append_bert_words(std::string_view text, const BertTextOptions& options, std::string& words,
                       Scratch<uint32_t>& ends) {
  WordCutter(options, words, ends).cut(text);
}

}  // namespace metallic
