// How fast a model runs: the time of prompts and of decoding, for one sequence and for several together, and how near
// that is to what the device can do.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace metallic {

// One thing to measure.
struct SpeedTest {
  enum class Kind { kPrompt, kDecode };
  Kind kind = Kind::kPrompt;
  int tokens = 0;     // of each sequence
  int sequences = 1;  // that decode together
  int depth = 0;      // tokens that are in the cache before

  std::string name() const;  // pp512, tg128, tg128x4, tg128@d4096
};

// What the weights cost: bytes that are read and operations (multiplications and additions) that are made.
class WeightCost {
 public:
  static WeightCost of(const GgufFile& file, const Config& config);

  // Of one step of `sequences` sequences with one token each: all matrices but the embedding's rows, of a mixture the
  // experts that so many tokens need on average if each takes any.
  double step_bytes(int sequences) const;
  // Of a prompt of `tokens` tokens, of which the last alone needs the head. Attention is not counted.
  double prompt_operations(int tokens) const;

 private:
  struct Part {
    double bytes = 0, weights = 0;
  };
  Part layers_, experts_, head_;
  double used_share_ = 1;  // of the experts, by one token
};

struct SpeedResult {
  SpeedTest test;
  std::vector<double> tokens_per_second;  // of all sequences; one for each repetition
  double step_bytes = 0;                  // decode: of weights, in a step
  double operations = 0;                  // prompt: in all
  DeviceLimits limits;                    // measured before and after, the better of the two
  // Bytes a second of weights that came to a device, and from disk; the most that the link gives, measured after.
  double copied = 0, read = 0, link = 0;

  double mean() const;
  double deviation() const;
  double median() const;
  // From the median: weights read, operations made.
  double bytes_per_second() const;
  double operations_per_second() const;
  // Of the limit that matters to the kind of test; 0 if that is not known.
  double share() const;
};

struct SpeedOptions {
  int step_rows = 512;  // the most tokens of one step
  int repetitions = 5;
  KvFormats kv_formats = {};
};

// Runs tests on one model. One thread at a time.
class SpeedTester {
 public:
  // Room for all of `tests`. kInvalidArgument for what the model cannot do.
  static Result<std::unique_ptr<SpeedTester>> create(std::shared_ptr<const Model> model,
                                                     std::span<const SpeedTest> tests, const SpeedOptions& options);

  // `on_start` is called when all is warm, before what counts.
  Result<SpeedResult> run(const SpeedTest& test, const std::function<void()>& on_start = {});

 private:
  SpeedTester(std::shared_ptr<const Model> model, const SpeedOptions& options, Decoder decoder, KvCache cache,
              int context);

  const int32_t* pages(int sequence) const;
  // Evaluates tokens at positions [first, first + count) of one sequence; the last one's logits.
  Status feed(int sequence, int first, int count);
  // One token of each sequence, at `position`.
  Status step(int sequences, int position);
  Status fill(int sequences, int depth);
  Status work(const SpeedTest& test, int tokens);
  int32_t next_token();

  std::shared_ptr<const Model> model_;
  SpeedOptions options_;
  Decoder decoder_;
  KvCache cache_;
  int context_;                 // positions of each sequence
  std::vector<int32_t> pages_;  // (sequences, pages of a context)
  std::vector<int> filled_;     // (sequences) positions that hold keys and values
  bool warm_ = false;           // some test has run
  uint32_t last_token_ = 0;
  std::vector<float> logits_;
};

// Loads a file and computes the token after a short prompt: all that a user waits for at the start.
Status first_token(const Model& model, const KvFormats& kv_formats);

}  // namespace metallic
