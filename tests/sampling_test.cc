// A backend that chooses tokens chooses those of the engine's samplers, for the same logits, options and seed.
#include <gtest/gtest.h>

#include "backend/test_support.h"
#include "engine/samplers/samplers.h"

namespace metallic {
namespace {

SamplingOptions plain() {
  SamplingOptions options;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  options.temperature = 1;
  return options;
}

struct Case {
  const char* name;
  void (*change)(SamplingOptions&);
};

constexpr Case kCases[] = {
    {"greedy", [](SamplingOptions& o) { o.temperature = 0; }},
    {"defaults", [](SamplingOptions& o) { o = SamplingOptions(); }},
    {"temperature", [](SamplingOptions& o) { o.temperature = 0.6f; }},
    {"temperature 1", [](SamplingOptions&) {}},
    {"top-k 1", [](SamplingOptions& o) { o.top_k = 1; }},
    {"top-k 7", [](SamplingOptions& o) { o.top_k = 7; }},
    {"top-k 512", [](SamplingOptions& o) { o.top_k = 512, o.temperature = 2; }},
    {"top-k 2000", [](SamplingOptions& o) { o.top_k = 2000; }},
    {"top-p", [](SamplingOptions& o) { o.top_p = 0.7f, o.temperature = 0.5f; }},
    {"top-p 0", [](SamplingOptions& o) { o.top_p = 0; }},
    {"top-p wide", [](SamplingOptions& o) { o.top_p = 0.999f; }},
    {"min-p", [](SamplingOptions& o) { o.min_p = 0.02f, o.temperature = 1.7f; }},
    {"min-p 1", [](SamplingOptions& o) { o.min_p = 1; }},
    {"top-k, min-p", [](SamplingOptions& o) { o.top_k = 50, o.min_p = 0.1f; }},
    {"penalties",
     [](SamplingOptions& o) {
       o = SamplingOptions();
       o.repeat_penalty = 1.3f, o.presence_penalty = 0.2f, o.frequency_penalty = 0.4f, o.penalty_window = 20;
     }},
    {"penalties, greedy",
     [](SamplingOptions& o) {
       o.temperature = 0, o.repeat_penalty = 2, o.frequency_penalty = 1, o.penalty_window = -1;
     }},
    {"bias",
     [](SamplingOptions& o) {
       o.logit_bias = {{0, 4.0f}, {2, -INFINITY}}, o.top_k = 10;
     }},
    {"bias and penalties",
     [](SamplingOptions& o) {
       o.logit_bias = {{1, 3.0f}, {0, 1.0f}}, o.presence_penalty = 3, o.min_p = 0.05f;
     }},
    {"one token's bias twice",
     [](SamplingOptions& o) {
       o.logit_bias = {{1, 0.1f}, {1, 2.7f}};
     }},
};

class Sampling : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    METALLIC_SKIP_IF_ABSENT(GetParam());
    backend_ = open_backend(GetParam(), 2).value();
  }

  // The choices of one step for rows of logits.
  std::vector<int32_t> choose(const std::vector<float>& logits, std::span<const SampleRow> rows) {
    const int64_t count = int64_t(rows.size());
    const testing::Buffer on = testing::upload(*backend_, logits, {count, int64_t(logits.size()) / count});
    const auto ids = backend_->allocate(rows.size() * sizeof(int32_t)).value();
    backend_->sample({{}, nullptr, 1.0f, 0.0f, on.view, rows, static_cast<int32_t*>(ids.get())});
    std::vector<int32_t> result(rows.size());
    backend_->copy_to_host(result.data(), ids.get(), result.size() * sizeof(int32_t));
    EXPECT_TRUE(backend_->synchronize());
    after_ = testing::download(*backend_, on);
    return result;
  }

  std::shared_ptr<Backend> backend_;
  std::vector<float> after_;  // what the step left of the logits
};
INSTANTIATE_TEST_SUITE_P(, Sampling, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const char* name : backend_names()) names.emplace_back(name);
                           return names;
                         }()),
                         [](const auto& test) { return testing::test_name(test.param); });

// Logits with the long tail of a language model's.
std::vector<float> tailed_logits(testing::Random& random, int vocab) {
  std::vector<float> logits = random.floats(vocab, -12.0f, 4.0f);
  for (size_t i = 0; i < logits.size(); i += 97) logits[i] += 7.0f;
  return logits;
}

TEST_P(Sampling, ChoosesTheTokensOfTheEnginesSamplers) {
  constexpr int kSteps = 6;
  for (const int vocab : {3, 517, 2048, 2049, 9001, 49152, 152064})
    for (const Case& c : kCases) {
      SamplingOptions options = plain();
      c.change(options);
      options.seed = uint64_t(vocab);
      Sampler on_host = *Sampler::create(options, vocab), there = *Sampler::create(options, vocab);
      testing::Random random(uint32_t(vocab) + 1);
      std::vector<TokenId> history = {0, 1, 0};
      for (int step = 0; step < kSteps; ++step) {
        SCOPED_TRACE(::testing::Message() << c.name << ", vocabulary of " << vocab << ", step " << step);
        const std::vector<float> logits = tailed_logits(random, vocab);
        const SampleRow row = there.describe(history);
        const std::vector<int32_t> ids = choose(logits, {&row, 1});
        const TokenId expected = *on_host.sample(logits, history);
        if (ids[0] == kChooseOnHost) {
          ASSERT_EQ(after_, logits);
          ASSERT_EQ(*there.sample(logits, history), expected);
        } else {
          ASSERT_EQ(ids[0], expected);
          there.count_draw();
        }
        history.push_back(expected);
      }
    }
}

// Else a fallback everywhere would pass the test above.
TEST_P(Sampling, ChoosesByItselfWhatItSaysItCan) {
  constexpr int kVocab = 152064;
  testing::Random random(5);
  const std::vector<float> logits = tailed_logits(random, kVocab);
  for (const Case& c : kCases) {
    SamplingOptions options = plain();
    c.change(options);
    Sampler sampler = *Sampler::create(options, kVocab);
    const std::vector<TokenId> history = {0, 1, 0};
    const SampleRow row = sampler.describe(history);
    const bool everything = std::string_view(c.name) == "top-p wide";  // more tokens than are kept in order
    if (everything) continue;
    EXPECT_EQ(choose(logits, {&row, 1})[0] != kChooseOnHost, backend_->can_sample(row)) << c.name;
  }
  SampleRow best;
  EXPECT_TRUE(backend_->can_sample(best));
  if (!GetParam().starts_with("cuda")) return;
  Sampler defaults = *Sampler::create(SamplingOptions(), kVocab);
  EXPECT_TRUE(backend_->can_sample(defaults.describe({})));
}

TEST_P(Sampling, RowsOfABatchAreChosenEachInItsWay) {
  constexpr int kVocab = 9001, kRows = 5;
  testing::Random random(9);
  std::vector<float> logits;
  for (int i = 0; i < kRows; ++i) {
    const std::vector<float> row = tailed_logits(random, kVocab);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  const std::vector<TokenId> history = {5, 6, 97, 97};
  std::vector<Sampler> samplers, expected;
  std::vector<SampleRow> rows;
  for (int i = 0; i < kRows; ++i) {
    SamplingOptions options = plain();
    kCases[size_t(i) * 4 % std::size(kCases)].change(options);
    options.seed = uint64_t(i);
    samplers.push_back(*Sampler::create(options, kVocab));
    expected.push_back(samplers.back());
  }
  for (Sampler& sampler : samplers) rows.push_back(sampler.describe(history));
  const std::vector<int32_t> ids = choose(logits, rows);
  for (size_t i = 0; i < kRows; ++i) {
    const auto row = std::span(logits).subspan(i * kVocab, kVocab);
    if (ids[i] == kChooseOnHost) continue;
    EXPECT_EQ(ids[i], *expected[i].sample(row, history)) << "row " << i;
  }
}

TEST_P(Sampling, OfEqualLogitsTheLowestIdIsBest) {
  std::vector<float> logits(50000, -3.0f);
  const SampleRow best;
  EXPECT_EQ(choose(logits, {&best, 1})[0], 0);
  logits[41234] = logits[41233] = logits[49999] = 2.0f;
  EXPECT_EQ(choose(logits, {&best, 1})[0], 41233);
  logits.assign(50000, -0.0f);
  logits[7] = 0.0f;
  EXPECT_EQ(choose(logits, {&best, 1})[0], 0);
}

TEST_P(Sampling, LogitsThatAreNoNumbersAreLeftToTheHost) {
  const SampleRow best;
  for (const float bad : {NAN, INFINITY})
    for (const size_t at : {size_t(0), size_t(777), size_t(4999)}) {
      std::vector<float> logits(5000, 1.0f);
      logits[at] = bad;
      EXPECT_EQ(choose(logits, {&best, 1})[0], kChooseOnHost);
    }
  EXPECT_EQ(choose(std::vector<float>(5000, -INFINITY), {&best, 1})[0], kChooseOnHost);
}

}  // namespace
}  // namespace metallic
