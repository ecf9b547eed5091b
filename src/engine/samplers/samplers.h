// Choosing the next token: a chain of plain structs, each narrowing or changing the candidates. A new sampler is one
// file with one apply(), and one line in SamplerStep.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "backend/sampling.h"
#include "metallic/engine.h"
#include "metallic/result.h"
#include "metallic/tokenizer.h"

namespace metallic {

struct Candidate {
  TokenId id;
  float logit;
};

// Tokens that can still be chosen. After TopK or TopP they are sorted, best first; ties keep the lower id first.
struct Candidates {
  std::vector<Candidate> list;
  bool sorted = false;
};

struct LogitBias {
  std::vector<std::pair<TokenId, float>> bias;
};
struct Penalties {
  float repeat, presence, frequency;
  int window;
};
struct TopK {
  int k;
};
struct TopP {
  float p;
};
struct MinP {
  float p;
};
struct Temperature {
  float temperature;  // > 0
};
using SamplerStep = std::variant<LogitBias, Penalties, TopK, TopP, MinP, Temperature>;

// `history` is the whole sequence so far, prompt and answer.
void apply(const LogitBias& step, Candidates& candidates, std::span<const TokenId> history);
void apply(const Penalties& step, Candidates& candidates, std::span<const TokenId> history);
void apply(const TopK& step, Candidates& candidates, std::span<const TokenId> history);
void apply(const TopP& step, Candidates& candidates, std::span<const TokenId> history);
void apply(const MinP& step, Candidates& candidates, std::span<const TokenId> history);
void apply(const Temperature& step, Candidates& candidates, std::span<const TokenId> history);

// The chain for these options: steps that would change nothing are left out. kInvalidArgument names the option out of
// range.
Result<std::vector<SamplerStep>> sampler_chain(const SamplingOptions& options, int vocab);

// One sequence's sampler: the chain, and random numbers that depend on the seed and on how many were drawn, nothing
// else.
class Sampler {
 public:
  static Result<Sampler> create(const SamplingOptions& options, int vocab);
  // kInternal if the logits hold no usable number.
  Result<TokenId> sample(std::span<const float> logits, std::span<const TokenId> history);
  // What sample() would do next, for a backend to do (sampling.h); its data is good until the next call. on_host if it
  // cannot be said so.
  // `ahead`: of how many choices before it the outcome is not known yet.
  SampleRow describe(std::span<const TokenId> history, int ahead = 0);
  // Whether describe() says the same whatever the latest tokens are.
  bool ignores_history() const;
  // The backend has chosen.
  void count_draw() {
    if (!greedy_) ++drawn_;
  }

 private:
  double next_unit(int ahead = 0) const;  // [0, 1)

  std::vector<SamplerStep> chain_;
  bool greedy_ = false;
  uint64_t seed_ = 0;
  uint64_t drawn_ = 0;
  Candidates candidates_;
  std::vector<LogitChange> changes_;
};

// Orders candidates best first.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace metallic
