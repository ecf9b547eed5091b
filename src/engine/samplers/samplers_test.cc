#include "engine/samplers/samplers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace metallic {
namespace {

SamplingOptions neutral() {
  SamplingOptions options;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  options.temperature = 1;
  return options;
}

// How often each token comes out of many draws.
std::map<TokenId, double> shares(const SamplingOptions& options, const std::vector<float>& logits,
                                 const std::vector<TokenId>& history = {}) {
  constexpr int kDraws = 40000;
  auto sampler = Sampler::create(options, int(logits.size()));
  EXPECT_TRUE(sampler);
  std::map<TokenId, double> result;
  for (int i = 0; i < kDraws; ++i) result[*sampler->sample(logits, history)] += 1.0 / kDraws;
  return result;
}

std::vector<float> log_of(std::vector<float> probabilities) {
  for (float& p : probabilities) p = std::log(p);
  return probabilities;
}

TEST(Sampler, DrawsByTheSoftmaxOfTheLogits) {
  const auto result = shares(neutral(), log_of({0.1f, 0.2f, 0.3f, 0.4f}));
  for (int id = 0; id < 4; ++id) EXPECT_NEAR(result.at(id), 0.1 * (id + 1), 0.01);
}

TEST(Sampler, TemperatureZeroTakesTheBestAndTheLowestIdOfEquals) {
  SamplingOptions options = neutral();
  options.temperature = 0;
  auto sampler = Sampler::create(options, 4);
  const std::vector<float> logits = {1, 7, 7, 3};
  EXPECT_EQ(*sampler->sample(logits, {}), 1);
}

TEST(Sampler, TemperatureSharpens) {
  SamplingOptions options = neutral();
  options.temperature = 0.5f;
  const auto result = shares(options, log_of({0.2f, 0.8f}));
  EXPECT_NEAR(result.at(0), 0.04 / (0.04 + 0.64), 0.01);
}

TEST(Sampler, TopKKeepsTheBestK) {
  SamplingOptions options = neutral();
  options.top_k = 2;
  const auto result = shares(options, log_of({0.4f, 0.1f, 0.3f, 0.2f}));
  EXPECT_EQ(result.size(), 2u);
  EXPECT_NEAR(result.at(0), 4.0 / 7, 0.01);
  EXPECT_NEAR(result.at(2), 3.0 / 7, 0.01);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesP) {
  SamplingOptions options = neutral();
  options.top_p = 0.65f;
  auto result = shares(options, log_of({0.4f, 0.1f, 0.3f, 0.2f}));
  EXPECT_EQ(result.size(), 2u);
  EXPECT_TRUE(result.contains(0) && result.contains(2));
  options.top_p = 0.0f;
  EXPECT_EQ(shares(options, log_of({0.4f, 0.6f})).size(), 1u);
  options.top_p = 0.65f;
  options.top_k = 3;
  EXPECT_EQ(shares(options, log_of({0.4f, 0.1f, 0.3f, 0.2f})).size(), 2u);
}

TEST(Sampler, MinPKeepsWhatHasAShareOfTheBest) {
  SamplingOptions options = neutral();
  options.min_p = 0.5f;
  const auto result = shares(options, log_of({0.4f, 0.1f, 0.3f, 0.2f - 0.01f}));
  EXPECT_EQ(result.size(), 2u);
}

TEST(Sampler, PenaltiesLowerRecentTokensByTheirFormulas) {
  Candidates candidates{{{0, 2.0f}, {1, -2.0f}, {2, 1.0f}, {3, 1.0f}}, false};
  const std::vector<TokenId> history = {3, 0, 1, 1};
  apply(Penalties{2.0f, 0.5f, 0.25f, 3}, candidates, history);
  EXPECT_FLOAT_EQ(candidates.list[0].logit, 2.0f / 2 - 0.25f - 0.5f);
  EXPECT_FLOAT_EQ(candidates.list[1].logit, -2.0f * 2 - 2 * 0.25f - 0.5f);
  EXPECT_FLOAT_EQ(candidates.list[2].logit, 1.0f);
  EXPECT_FLOAT_EQ(candidates.list[3].logit, 1.0f);
}

TEST(Sampler, LogitBiasBansAndForces) {
  SamplingOptions options = neutral();
  options.logit_bias = {{1, -INFINITY}};
  EXPECT_FALSE(shares(options, {0, 10, 0}).contains(1));
  options.logit_bias = {{2, 100.0f}};
  EXPECT_EQ(shares(options, {0, 10, 0}).size(), 1u);
}

TEST(Sampler, TheSeedDecidesTheTokens) {
  SamplingOptions options = neutral();
  const std::vector<float> logits(100, 0.0f);
  const auto draw = [&](uint64_t seed) {
    options.seed = seed;
    auto sampler = Sampler::create(options, 100);
    std::vector<TokenId> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(*sampler->sample(logits, ids));
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, UnusableLogitsAndOptionsAreErrors) {
  auto sampler = Sampler::create(neutral(), 2);
  EXPECT_EQ(sampler->sample(std::vector<float>{NAN, 1}, {}).error().code, ErrorCode::kInternal);
  EXPECT_EQ(sampler->sample(std::vector<float>{-INFINITY, -INFINITY}, {}).error().code, ErrorCode::kInternal);
  for (auto change : {+[](SamplingOptions& o) { o.temperature = -1; }, +[](SamplingOptions& o) { o.temperature = NAN; },
                      +[](SamplingOptions& o) { o.top_k = -1; }, +[](SamplingOptions& o) { o.top_p = 1.5f; },
                      +[](SamplingOptions& o) { o.min_p = -0.1f; }, +[](SamplingOptions& o) { o.repeat_penalty = 0; },
                      +[](SamplingOptions& o) { o.penalty_window = -2; },
                      +[](SamplingOptions& o) {
                        o.logit_bias = {{2, 1.0f}};
                      }}) {
    SamplingOptions options = neutral();
    change(options);
    EXPECT_FALSE(Sampler::create(options, 2));
  }
}

}  // namespace
}  // namespace metallic
