// The hand-written pre-tokenisers against the published expressions, run by PCRE2.
#include "tokenizer/pretokenize.h"

#include <gtest/gtest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>
#include <random>
#include <vector>

#include "base/utf8.h"

namespace metallic {
namespace {

using Pieces = std::vector<std::string_view>;

// An expression that cuts text into its matches and what is between them.
class Expression {
 public:
  explicit Expression(const std::string& pattern)
      : code_(nullptr, pcre2_code_free), match_(nullptr, pcre2_match_data_free) {
    int error = 0;
    size_t at = 0;
    code_.reset(pcre2_compile(PCRE2_SPTR(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr));
    if (code_ == nullptr) ADD_FAILURE() << "PCRE2 error " << error << " at " << at << " of " << pattern;
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }

  Pieces split(std::string_view text) const {
    Pieces pieces;
    size_t gap = 0;
    for (size_t at = 0; at < text.size();) {
      const int found = pcre2_match(code_.get(), PCRE2_SPTR(text.data()), text.size(), at, 0, match_.get(), nullptr);
      if (found < 0) break;
      const size_t* range = pcre2_get_ovector_pointer(match_.get());
      if (range[0] > gap) pieces.push_back(text.substr(gap, range[0] - gap));
      if (range[1] > range[0]) pieces.push_back(text.substr(range[0], range[1] - range[0]));
      at = gap = range[1];
      if (range[1] == range[0]) at += size_t(decode_utf8(text.substr(at)).length);
    }
    if (gap < text.size()) pieces.push_back(text.substr(gap));
    return pieces;
  }

  bool matches(std::string_view text) const {
    return pcre2_match(code_.get(), PCRE2_SPTR(text.data()), text.size(), 0, 0, match_.get(), nullptr) >= 0;
  }

 private:
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code_;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match_;
};

struct Published {
  const char* name;
  std::vector<std::string> expressions;  // each cuts the pieces of the one before
};

const std::string kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string llama3_like(const std::string& word, const std::string& number, const std::string& other) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?)" + word + "+|" + number + "| ?" + other +
         R"(+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// The letters of GPT-4o's expression that lead and that follow. `apart` are none of them.
std::string cased(const std::string& apart, const std::string& contraction, const std::string& digits,
                  const std::string& behind_marks) {
  const std::string lead = "(?:" + apart + R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]))";
  const std::string follow = "(?:" + apart + R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]))";
  const std::string before = R"([^\r\n\p{L}\p{N}]?)";
  return before + lead + "*" + follow + "+" + contraction + "|" + before + lead + "+" + follow + "*" + contraction +
         "|" + digits + R"(| ?[^\s\p{L}\p{N}]+)" + behind_marks + R"(*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

const std::string kContraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
const std::string kDeepseekV3Word =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kQwen2 = llama3_like(R"(\p{L})", R"(\p{N})", R"([^\s\p{L}\p{N}])");
const std::string kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";

// From the models' tokenizer.json; "default" is llama.cpp's for files that name none.
const std::vector<Published>& published() {
  static const std::vector<Published> all = {
      {"gpt-2", {kGpt2}},
      {"mpt", {kGpt2}},
      {"llama-bpe", {llama3_like(R"(\p{L})", R"(\p{N}{1,3})", R"([^\s\p{L}\p{N}])")}},
      {"qwen2", {kQwen2}},
      {"qwen35", {llama3_like(R"([\p{L}\p{M}])", R"(\p{N})", R"([^\s\p{L}\p{M}\p{N}])")}},
      {"smollm", {R"(\p{N})", kGpt2}},
      {"starcoder", {R"(\p{N})", kGpt2}},
      {"deepseek-llm",
       {R"([\r\n])",
        R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1f7d}ᾀ-ᾴᾶ-ᾼ\x{1fbe}ῂ-ῄῆ-ῌῐ-\x{1fd3}ῖ-\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)",
        R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)", "[一-龥ࠀ-一가-\xed\x9f\xbf]+", R"(\p{N}+)"}},
      {"deepseek-coder", {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-\xed\x9f\xbf]+", R"(\p{N})"}},
      {"deepseek-v3", {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseekV3Word}},
      {"gpt-4o", {cased("", kContraction, R"(\p{N}{1,3})", "[\\r\\n/]")}},
      {"tekken", {cased("", "", R"(\p{N})", "[\\r\\n/]")}},
      {"kimi-k2", {R"(\p{sc:Han}+|)" + cased(R"((?!\p{sc:Han}))", kContraction, R"(\p{N}{1,3})", "[\\r\\n]")}},
      {"youtu",
       {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
        cased("", kContraction, R"(\p{N})", "[\\r\\n/]")}},
      {"bailingmoe",
       {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {"seed-coder",
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"ufakzeka", {R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"laguna", {R"([^\n]+|[\n]+)", kQwen2}},
      {"minicpm5", {R"(\p{N}{1,3})", llama3_like(R"(\p{L})", R"(\p{N}+)", R"([^\s\p{L}\p{N}])")}},
      {"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}},
      {"superbpe", {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {"afmoe",
       {R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))",
        "[一-鿿㐀-䶿\uf900-\ufaff぀-ゟ゠-ヿ･-ﾟ⼀-\u2fdfเ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-"
        "\ua9ff가-"
        "\xed\x9e\xafᄀ-"
        "ᇿ]+",
        kDeepseekV3Word}},
      {"bloom", {kBloom}},
      {"viking", {kBloom, R"(\p{N})"}},
      {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
  };
  return all;
}

Pieces split(std::string_view name, std::string_view text) {
  const PreTokenizer pre_tokenizer = find_pre_tokenizer(name);
  EXPECT_NE(pre_tokenizer, nullptr);
  std::vector<uint32_t> ends(text.size());
  const size_t count = pre_tokenizer(text, ends.data());
  Pieces pieces;
  size_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    pieces.push_back(text.substr(begin, ends[i] - begin));
    begin = ends[i];
  }
  EXPECT_EQ(begin, text.size());
  return pieces;
}

// Text in which every alternative of the expressions has something to do.
class RandomText {
 public:
  explicit RandomText(uint32_t seed) : random_(seed), unassigned_(R"(\p{Cn}|\p{Cs})") {}

  std::string next() {
    std::string text;
    for (size_t length = pick(40); length > 0; --length) add(text);
    return text;
  }

 private:
  size_t pick(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }
  std::string_view one_of(std::initializer_list<std::string_view> strings) {
    return strings.begin()[pick(strings.size())];
  }

  void add(std::string& text) {
    switch (pick(9)) {
      case 0:
        text +=
            one_of({" ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\v"});
        return;
      case 1:
        text +=
            one_of({"'s", "'S", "'T", "'re", "'rE", "'VE", "'m", "'ll", "'lL", "'d", "'\u017f", "'", "'x", "'l", "''"});
        return;
      case 2:
        text += one_of({"1", "23", "4567", "\u00bd", "\u2167", "\u0663\u0664", "\u00b2", "\u4e09"});
        return;
      case 3:
        text += one_of({"a", "Hello", "foo_bar", "x", "DEF", "aB", "ABc", "\u01c5a", "/", "\u00e9", "e\u0301",
                        "\u0431\u0443", "\u01c5"});
        return;
      case 4:
        text += one_of({"!", "(", "...", "->", "`", "$", "+=", "_", "\u201c", "\u3002", "\uff01", "\u00b1", "~"});
        return;
      case 5:
        text += one_of({"\u6211\u60f3", "\u3042\u3044", "\ud55c\uad6d", "\u0e01\u0e33", "\u0928\u092e\u0938\u094d",
                        "\u05e9\u05c1"});
        return;
      case 6:
        text += one_of(
            {"\U0001f600", "\U0001f468\u200d\U0001f469", "\u2705", "\ufe0f", "\u0301", "\u200b", "\x01", "\x7f"});
        return;
      case 7:
        text += char(pick(128));
        return;
      default:
        append_utf8(text, assigned());
    }
  }

  // A code point whose class PCRE2's version of Unicode knows, too. U+180E is a space to PCRE2 alone.
  uint32_t assigned() {
    for (;;) {
      const uint32_t c = uint32_t(pick(4) == 0 ? pick(0x110000) : pick(0x3400));
      if ((c >= 0xd800 && c < 0xe000) || c == 0x180e) continue;
      std::string text;
      append_utf8(text, c);
      if (!unassigned_.matches(text)) return c;
    }
  }

  std::mt19937 random_;
  Expression unassigned_;
};

TEST(PreTokenizers, CutLikeThePublishedExpressions) {
  for (const Published& entry : published()) {
    std::vector<Expression> expressions;
    for (const std::string& pattern : entry.expressions) expressions.emplace_back(pattern);
    RandomText random(20251);
    for (int i = 0; i < 20000; ++i) {
      const std::string text = random.next();
      Pieces expected = {text};
      if (text.empty()) expected.clear();
      for (const Expression& expression : expressions) {
        Pieces finer;
        for (const std::string_view piece : expected) {
          for (const std::string_view part : expression.split(piece)) finer.push_back(part);
        }
        expected = finer;
      }
      ASSERT_EQ(split(entry.name, text), expected) << entry.name << ": " << testing::PrintToString(text);
    }
  }
}

TEST(PreTokenizers, AreKnownUnderTheirAliases) {
  EXPECT_EQ(find_pre_tokenizer("llama3"), find_pre_tokenizer("llama-bpe"));
  EXPECT_EQ(find_pre_tokenizer("llama-v3"), find_pre_tokenizer("llama-bpe"));
  EXPECT_EQ(find_pre_tokenizer("refact"), find_pre_tokenizer("starcoder"));
  EXPECT_EQ(find_pre_tokenizer("deepseek-r1-qwen"), find_pre_tokenizer("qwen2"));
  EXPECT_EQ(find_pre_tokenizer("qwen"), nullptr);
  EXPECT_EQ(find_pre_tokenizer(""), nullptr);
  EXPECT_NE(pre_tokenizer_names().find("gpt-2, "), std::string::npos);
}

TEST(PreTokenizers, TakeLinearTimeOnLongRuns) {
  for (const Published& entry : published()) {
    for (const std::string_view unit :
         {" ", "\n", "a", "1", "!", "\u0301", " \n", "'", "\u3000", "\n    ", " a", "_a"}) {
      std::string text;
      while (text.size() < 300000) text += unit;
      EXPECT_FALSE(split(entry.name, text + "x").empty());
    }
  }
}

}  // namespace
}  // namespace metallic
