#include "engine/kv_pages.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace metallic {
namespace {

std::vector<TokenId> tokens(int count, TokenId first = 0) {
  std::vector<TokenId> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

TEST(KvPages, ASequenceGetsPagesForItsCapacityAndGivesThemBack) {
  KvPages pages(8, 4);
  auto lease = pages.take(tokens(5), 13);
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->pages.size(), 4u);
  EXPECT_EQ(lease->cached_tokens, 0);
  EXPECT_EQ(pages.free_pages(), 4);
  EXPECT_FALSE(pages.take(tokens(5), 17));
  EXPECT_EQ(pages.free_pages(), 4);
  pages.give_back(*lease);
  EXPECT_EQ(pages.free_pages(), 8);
}

TEST(KvPages, AComputedPrefixIsSharedAlsoAfterItWasGivenBack) {
  KvPages pages(8, 4);
  const auto prompt = tokens(10);
  auto first = pages.take(prompt, 12);
  pages.mark_computed(*first, prompt, 10);
  auto second = pages.take(prompt, 12);
  EXPECT_EQ(second->cached_tokens, 8);
  EXPECT_EQ(second->pages[0], first->pages[0]);
  EXPECT_EQ(second->pages[1], first->pages[1]);
  EXPECT_NE(second->pages[2], first->pages[2]);
  pages.give_back(*first);
  pages.give_back(*second);
  EXPECT_EQ(pages.free_pages(), 8);
  auto other = prompt;
  other[5] = 99;
  auto third = pages.take(other, 12);
  EXPECT_EQ(third->cached_tokens, 4);
}

TEST(KvPages, TheLastTokenOfAPromptIsAlwaysLeftToCompute) {
  KvPages pages(8, 4);
  const auto prompt = tokens(8);
  auto first = pages.take(prompt, 8);
  pages.mark_computed(*first, prompt, 8);
  pages.give_back(*first);
  EXPECT_EQ(pages.take(prompt, 8)->cached_tokens, 4);
}

TEST(KvPages, APageThatIsReusedIsNoLongerKnownByItsOldContent) {
  KvPages pages(2, 4);
  auto first = pages.take(tokens(5), 8);
  pages.mark_computed(*first, tokens(8), 8);
  pages.give_back(*first);
  auto second = pages.take(tokens(5, 100), 8);
  pages.mark_computed(*second, tokens(8, 100), 8);
  pages.give_back(*second);
  EXPECT_EQ(pages.take(tokens(5), 8)->cached_tokens, 0);
}

// Random traffic: no page has two owners with different content, none is lost, and what is cached is what was computed.
TEST(KvPages, RandomTrafficKeepsContentTrue) {
  std::mt19937 random(7);
  KvPages pages(16, 2);
  std::vector<std::vector<TokenId>> content(16);  // the tokens a page really holds
  struct Live {
    PageLease lease;
    std::vector<TokenId> tokens;
  };
  std::vector<Live> live;
  int shared = 0;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      std::vector<TokenId> prompt(1 + random() % 9);
      for (TokenId& id : prompt) id = TokenId(random() % 2);
      auto lease = pages.take(prompt, int(prompt.size() + random() % 3));
      if (!lease) continue;
      shared += lease->cached_tokens > 0;
      for (int i = 0; i < lease->cached_tokens; ++i)
        ASSERT_EQ(content[size_t(lease->pages[size_t(i / 2)])][size_t(i % 2)], prompt[size_t(i)]);
      for (size_t i = size_t(lease->cached_tokens); i < prompt.size(); ++i) {
        auto& page = content[size_t(lease->pages[i / 2])];
        page.resize(2);
        page[i % 2] = prompt[i];
      }
      pages.mark_computed(*lease, prompt, int(prompt.size()));
      live.push_back({std::move(*lease), std::move(prompt)});
    } else if (!live.empty()) {
      const size_t victim = random() % live.size();
      pages.give_back(live[victim].lease);
      live.erase(live.begin() + ptrdiff_t(victim));
    }
    for (const Live& sequence : live)
      for (size_t i = 0; i < sequence.tokens.size(); ++i)
        ASSERT_EQ(content[size_t(sequence.lease.pages[i / 2])][i % 2], sequence.tokens[i]);
  }
  for (Live& sequence : live) pages.give_back(sequence.lease);
  EXPECT_EQ(pages.free_pages(), 16);
  EXPECT_GT(shared, 1000);
}

}  // namespace
}  // namespace metallic
