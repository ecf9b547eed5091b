#include "tokenizer/text_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace metallic {
namespace {

using Found = std::vector<std::pair<size_t, std::string>>;

Found find(const std::vector<std::string>& texts, std::string_view in) {
  std::vector<TextMatcher::Entry> entries;
  for (size_t i = 0; i < texts.size(); ++i) entries.push_back({texts[i], TokenId(i)});
  TextMatcher matcher;
  matcher.build(entries);
  std::vector<TextMatcher::Match> matches;
  matcher.find(in, matches);
  Found found;
  for (const TextMatcher::Match& match : matches) found.emplace_back(match.begin, texts[size_t(match.id)]);
  return found;
}

// What the comment of TextMatcher::find says, word for word.
Found find_slowly(std::vector<std::string> texts, const std::string& in) {
  std::ranges::sort(texts);
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  std::map<size_t, std::string> found;
  std::string left = in;  // what has been cut out is overwritten
  for (size_t size = in.size(); size > 0; --size) {
    for (size_t at = 0; at + size <= left.size(); ++at) {
      const std::string part = left.substr(at, size);
      if (std::ranges::find(texts, part) == texts.end()) continue;
      found[at] = part;
      left.replace(at, size, std::string(size, '#'));
    }
  }
  return {found.begin(), found.end()};
}

TEST(TextMatcher, FindsWhatIsThereInOrder) {
  EXPECT_EQ(find({"<a>", "<b>"}, "x<b>y<a><a>z<"), (Found{{1, "<b>"}, {5, "<a>"}, {8, "<a>"}}));
  EXPECT_EQ(find({"<a>"}, ""), Found{});
  EXPECT_EQ(find({}, "<a>"), Found{});
}

TEST(TextMatcher, TakesTheLongestFirstAndThenTheLeftmost) {
  EXPECT_EQ(find({"ab", "abc"}, "abcab"), (Found{{0, "abc"}, {3, "ab"}}));
  EXPECT_EQ(find({"ab", "bcd"}, "abcd"), (Found{{1, "bcd"}}));
  EXPECT_EQ(find({"  ", "    "}, "       "), (Found{{0, "    "}, {4, "  "}}));
}

TEST(TextMatcher, AgreesWithCuttingOutFromTheLongestToTheShortest) {
  std::mt19937 random(3);
  const auto word = [&](size_t longest) {
    std::string text(1 + random() % longest, ' ');
    for (char& c : text) c = char('a' + random() % 3);
    return text;
  };
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::string> texts(1 + random() % 5);
    for (std::string& text : texts) text = word(5);
    const std::string in = word(30);
    ASSERT_EQ(find(texts, in), find_slowly(texts, in)) << in;
  }
}

TEST(TextMatcher, TakesLinearTimeOnLongRunsOfWhatMatches) {
  std::vector<std::string> texts;
  for (size_t size = 1; size <= 24; ++size) texts.emplace_back(size, ' ');
  const std::string in(1'000'000, ' ');
  EXPECT_EQ(find(texts, in).size(), 1'000'000u / 24 + 1);
}

}  // namespace
}  // namespace metallic
