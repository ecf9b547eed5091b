#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <random>

namespace metallic {
namespace {

TEST(Scheduler, DecodingSequencesComeFirstAndPromptsFillTheRest) {
  const std::vector<TokenId> a = {1, 2, 3, 4, 5, 6}, b = {7, 8, 9};
  const std::vector<Progress> progress = {{a, 1, nullptr}, {b, 2, nullptr}};
  const Step step = next_step(progress, 4);
  EXPECT_EQ(step.batch.tokens, (std::vector<int32_t>{9, 2, 3, 4}));
  EXPECT_EQ(step.batch.positions, (std::vector<int32_t>{2, 1, 2, 3}));
  EXPECT_EQ(step.batch.logit_rows, (std::vector<int32_t>{0}));
  EXPECT_EQ(step.finished, (std::vector<int>{1}));
  EXPECT_EQ(step.sequences, (std::vector<int>{1, 0}));
}

TEST(Scheduler, EveryTokenOfEverySequenceIsEvaluatedOnceInOrder) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<TokenId>> tokens(1 + random() % 5);
    for (auto& ids : tokens) {
      ids.resize(1 + random() % 40);
      for (TokenId& id : ids) id = TokenId(random() % 1000);
    }
    std::vector<int> computed(tokens.size(), 0);
    const int max_rows = int(1 + random() % 20);
    for (int steps = 0;; ++steps) {
      ASSERT_LT(steps, 1000);
      std::vector<Progress> progress;
      std::vector<size_t> who;
      for (size_t i = 0; i < tokens.size(); ++i)
        if (size_t(computed[i]) < tokens[i].size()) {
          progress.push_back({tokens[i], computed[i], nullptr});
          who.push_back(i);
        }
      if (progress.empty()) break;
      const Step step = next_step(progress, max_rows);
      ASSERT_GT(step.batch.rows(), 0);
      ASSERT_LE(step.batch.rows(), max_rows);
      for (size_t s = 0; s < step.sequences.size(); ++s) {
        const BatchSequence& rows = step.batch.sequences[s];
        const size_t i = who[size_t(step.sequences[s])];
        ASSERT_EQ(rows.position, computed[i]);
        for (int r = 0; r < rows.rows; ++r)
          ASSERT_EQ(step.batch.tokens[size_t(rows.first_row + r)], tokens[i][size_t(rows.position + r)]);
        computed[i] += rows.rows;
      }
      ASSERT_EQ(step.finished.size(), step.batch.logit_rows.size());
      for (const int f : step.finished) ASSERT_EQ(size_t(computed[who[size_t(f)]]), tokens[who[size_t(f)]].size());
    }
  }
}

}  // namespace
}  // namespace metallic
