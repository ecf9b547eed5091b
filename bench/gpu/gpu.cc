// Checks, then times decoding, prompts and batched decoding of whole models with random weights on a backend, and
// prints a table: tokens a second, the share of the memory's reading rate measured in the same run or of the bfloat16
// peak, and a peer's figure beside it.
//
//   bench_gpu [SHAPE FORMAT[=PEER.json]]…     SHAPE: qwen2.5-0.5b, llama3.2-1b, qwen2.5-7b; FORMAT: Q4_0, Q8_0, Q4_K, …
//   METALLIC_DEVICE=cpu bench_gpu …           the same on another backend
//   METALLIC_BF16_PEAK=788 bench_gpu …        TFLOP/s that a prompt's share is of (788: measured on an H100)
//   METALLIC_BENCH="tg128, batch 4" bench_gpu …   only these of: random, tg128, pp512, pp2048, batch 4, … 16, … 64, …
//   128
//
// PEER.json: what llama-bench -o json or llama-batched-bench --output-format jsonl printed for a file of that shape and
// format.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <string_view>

#include "backend/cuda/cuda.h"
#include "base/error.h"
#include "model/forward.h"
#include "peer.h"
#include "support/random_model.h"

namespace metallic {
namespace {

using testing::ModelShape;
using testing::RandomWeights;

constexpr ModelShape kShapes[] = {
    {"qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, true},
    {"llama3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, false},
    {"qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, true},
};

constexpr int kPageTokens = 32;

class Bench {
 public:
  static Result<Bench> create(Backend& backend, const Config& config, const Weights& weights) {
    constexpr int kRows = 2048, kPages = 1024;
    METALLIC_ASSIGN(Decoder decoder, Decoder::create(config, weights, backend, kRows, 4096));
    METALLIC_ASSIGN(KvCache cache, KvCache::create(config, backend, kPages, kPageTokens, Format::kF16));
    return Bench(config, std::move(decoder), std::move(cache));
  }

  // What comes of the last token of a sequence.
  enum class Outcome { kToken, kLogits };

  Batch batch_of(int sequences, int rows, int position) const {
    Batch batch;
    for (int s = 0; s < sequences; ++s) {
      batch.sequences.push_back({s * rows, rows, position, pages_.data() + s * kPagesOfOne});
      for (int i = 0; i < rows; ++i) {
        batch.tokens.push_back((s * 31 + (position + i) * 7919 + 13) % config_->vocab);
        batch.positions.push_back(position + i);
      }
      batch.logit_rows.push_back((s + 1) * rows - 1);
    }
    return batch;
  }

  // Seconds for `sequences` sequences of `rows` tokens each, from `position` on.
  Result<double> step(int sequences, int rows, int position, Outcome outcome) {
    const Batch batch = batch_of(sequences, rows, position);
    const auto start = std::chrono::steady_clock::now();
    const std::vector<SampleRow> best(batch.logit_rows.size());
    if (outcome == Outcome::kLogits)
      METALLIC_TRY(decoder_.run(batch, cache_, logits_));
    else
      METALLIC_TRY(decoder_.choose(batch, cache_, best, choices_));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::span<const float> logits() const { return logits_; }

  // The median tokens a second of decoding `tokens` steps behind `position`, as the engine does it.
  Result<double> decode(int sequences, int position, int tokens) {
    std::vector<double> rates;
    for (int repetition = 0; repetition < 4; ++repetition) {
      METALLIC_ASSIGN(const double seconds, sequences <= decoder_.most_ahead()
                                                ? decode_ahead(sequences, position, tokens)
                                                : decode_in_turn(sequences, position, tokens));
      if (repetition > 0) rates.push_back(tokens * sequences / seconds);
    }
    std::sort(rates.begin(), rates.end());
    return rates[rates.size() / 2];
  }

  Result<double> decode_in_turn(int sequences, int position, int tokens) {
    double seconds = 0;
    for (int i = 0; i < tokens; ++i) {
      METALLIC_ASSIGN(const double one, step(sequences, 1, position + i, Outcome::kToken));
      seconds += one;
    }
    return seconds;
  }

  // Each step is started before the one ahead has ended, and has what that one chooses.
  Result<double> decode_ahead(int sequences, int position, int tokens) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<SampleRow> best(static_cast<size_t>(sequences));
    for (int i = 0; i < tokens; ++i) {
      Batch batch = batch_of(sequences, 1, position + i);
      for (int s = 0; s < sequences && i > 0; ++s) batch.tokens[size_t(s)] = chosen_before(s);
      decoder_.start(batch, cache_, best);
      if (i > 0) METALLIC_TRY(decoder_.finish(choices_));
    }
    METALLIC_TRY(decoder_.finish(choices_));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Result<double> prompt(int rows) {
    std::vector<double> rates;
    for (int repetition = 0; repetition < 6; ++repetition) {
      METALLIC_ASSIGN(const double seconds, step(1, rows, 0, Outcome::kToken));
      if (repetition > 1) rates.push_back(rows / seconds);
    }
    std::sort(rates.begin(), rates.end());
    return rates[rates.size() / 2];
  }

 private:
  static constexpr int kPagesOfOne = 8;  // batched decoding stays below 256 positions; a prompt has all pages
  Bench(const Config& config, Decoder decoder, KvCache cache)
      : config_(&config), decoder_(std::move(decoder)), cache_(std::move(cache)), pages_(size_t(cache_.pages())) {
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  const Config* config_;
  Decoder decoder_;
  KvCache cache_;
  std::vector<int32_t> pages_;
  std::vector<float> logits_;
  Choices choices_;
};

// Whether a line of the table was asked for.
bool wanted(const std::string& test) {
  const char* only = std::getenv("METALLIC_BENCH");
  if (only == nullptr) return true;
  for (std::string_view left = only; !left.empty();) {
    const std::string_view one = left.substr(0, left.find(','));
    left.remove_prefix(std::min(left.size(), one.size() + 1));
    const size_t begin = one.find_first_not_of(' ');
    if (begin != one.npos && one.substr(begin, one.find_last_not_of(' ') + 1 - begin) == test) return true;
  }
  return false;
}

std::string device_name() {
  const char* device = std::getenv("METALLIC_DEVICE");
  return device ? device : "cuda";
}

// The logits of a few steps of a small model with weights of this format, against the reference: their relative
// distance.
Result<double> check(Format format) {
  constexpr ModelShape kSmall = {"check", "llama", 2, 512, 768, 4, 2, 128, 500, false};
  constexpr int kRows = 24, kSteps = 4;
  std::vector<std::vector<float>> found;
  for (const std::string& name : {std::string("reference"), device_name()}) {
    METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open_backend(name, 0));
    const Config config = testing::config_of(kSmall);
    RandomWeights random(*backend, format, 768 * 512);
    METALLIC_ASSIGN(const Weights weights, testing::random_weights(kSmall, random));
    METALLIC_ASSIGN(Bench bench, Bench::create(*backend, config, weights));
    std::vector<float>& all = found.emplace_back();
    METALLIC_TRY(bench.step(1, kRows, 0, Bench::Outcome::kLogits));
    for (int i = 0; i < kSteps; ++i) {
      METALLIC_TRY(bench.step(1, 1, kRows + i, Bench::Outcome::kLogits));
      all.insert(all.end(), bench.logits().begin(), bench.logits().end());
    }
  }
  double difference = 0, square = 0;
  for (size_t i = 0; i < found[0].size(); ++i) {
    difference += std::pow(double(found[1][i]) - double(found[0][i]), 2);
    square += std::pow(double(found[0][i]), 2);
  }
  return std::sqrt(difference / square);
}

struct Limits {
  double read_rate = 0, peak = 0;  // bytes and operations a second; 0: not known
};

// Filling a tensor of a thousand million floats with random numbers, beside clearing as much memory.
Status time_random() {
  constexpr int64_t kCount = 1000000000;
  constexpr int kRepetitions = 5;
  METALLIC_ASSIGN(const double rate, measure_cuda_write_rate(0));
  METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open_backend("cuda", 0));
  METALLIC_ASSIGN(const std::shared_ptr<void> memory, backend->allocate(uint64_t(kCount) * sizeof(float)));
  const TensorView out = TensorView::dense(memory.get(), Format::kF32, {kCount});
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    METALLIC_TRY(backend->synchronize());
    const auto start = std::chrono::steady_clock::now();
    backend->random_uniform(out, 0.0f, 1.0f, uint64_t(i));
    METALLIC_TRY(backend->synchronize());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, double(kCount) * sizeof(float) / seconds);
  }
  fmt::print("random_uniform of 1e9 floats writes {:.2f} TB/s, {:.0f} % of clearing ({:.2f} TB/s)\n", best / 1e12,
             100 * best / rate, rate / 1e12);
  return {};
}

void print_row(const std::string& model, const std::string& test, double rate, double share, const char* of,
               std::optional<double> peer) {
  fmt::print("| {} | {} | {:.0f} | {} | {} | {} |\n", model, test, rate,
             share > 0 ? fmt::format("{:.1f} % of {}", 100 * share, of) : "", peer ? fmt::format("{:.0f}", *peer) : "",
             peer ? fmt::format("{:.2f}", rate / *peer) : "");
  std::fflush(stdout);
}

Status run(const std::string& name, Format format, const Limits& limits, const Peer& peer) {
  const auto shape =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const auto& s) { return name == s.name; });
  if (shape == std::end(kShapes)) return fail(ErrorCode::kNotFound, "no shape is called {}", name);
  METALLIC_ASSIGN(const double distance, check(format));
  constexpr double kFarthest = 2e-2;
  if (!(distance <= kFarthest))
    return fail(ErrorCode::kInternal, "the logits are {:.2e} from the reference's: not timed", distance);
  METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open_backend(device_name(), 0));
  const Config config = testing::config_of(*shape);
  RandomWeights random(*backend, format, uint64_t(shape->vocab) * uint64_t(shape->width));
  const auto loading = std::chrono::steady_clock::now();
  METALLIC_ASSIGN(const Weights weights, testing::random_weights(*shape, random));
  METALLIC_TRY(backend->synchronize());
  const double load = std::chrono::duration<double>(std::chrono::steady_clock::now() - loading).count();
  METALLIC_ASSIGN(Bench bench, Bench::create(*backend, config, weights));
  const double bytes = double(random.total());
  const double flops = 2 * (bytes / format_info(format).block_bytes * format_info(format).block_elements -
                            double(shape->vocab) * shape->width);
  const std::string model = fmt::format("{} {}", name, format_info(format).name);
  fmt::print("| {} | load | {:.2f} s, {:.1f} GB/s | {:.1e} from the reference | | |\n", model, load, bytes / load / 1e9,
             distance);
  const auto of_memory = [&](double steps) { return limits.read_rate > 0 ? steps * bytes / limits.read_rate : 0; };
  if (wanted("tg128")) {
    METALLIC_ASSIGN(const double tg, bench.decode(1, 0, 128));
    print_row(model, "tg128", tg, of_memory(tg), "HBM", peer.decode(128));
  }
  for (const int rows : {512, 2048}) {
    const std::string test = fmt::format("pp{}", rows);
    if (!wanted(test)) continue;
    METALLIC_ASSIGN(const double pp, bench.prompt(rows));
    print_row(model, test, pp, limits.peak > 0 ? pp * flops / limits.peak : 0, "bf16", peer.prompt(rows));
  }
  for (const int sequences : {2, 4, 8, 16, 64, 128}) {
    const std::string test = fmt::format("batch {}", sequences);
    if (!wanted(test)) continue;
    METALLIC_ASSIGN(const double rate, bench.decode(sequences, 128, 64));
    print_row(model, test, rate, of_memory(rate / sequences), "HBM", peer.batch(sequences));
  }
  return {};
}

}  // namespace
}  // namespace metallic

int main(int argc, char** argv) {
  using namespace metallic;
  Limits limits;
  const auto rate = measure_cuda_read_rate(0);
  if (rate) limits.read_rate = *rate;
  if (const char* peak = std::getenv("METALLIC_BF16_PEAK")) limits.peak = std::atof(peak) * 1e12;
  fmt::print("memory is read at {}\n", rate ? fmt::format("{:.2f} TB/s", *rate / 1e12) : rate.error().message);
  if (const Status random = rate && wanted("random") ? time_random() : Status(); !random)
    fmt::print("{}\n", random.error().message);
  fmt::print("| model | test | tokens/s | share | peer | ratio |\n| --- | --- | --- | --- | --- | --- |\n");
  int failed = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string what = argv[i + 1];
    const size_t equals = what.find('=');
    const auto format = format_from_name(what.substr(0, equals));
    const Result<Peer> peer = equals == std::string::npos ? Peer() : Peer::read(what.substr(equals + 1));
    Status status;
    if (!format)
      status = fail(ErrorCode::kNotFound, "no format is called {}", what.substr(0, equals));
    else if (!peer)
      status = tl::unexpected<Error>(peer.error());
    else
      status = run(argv[i], *format, limits, *peer);
    if (status) continue;
    fmt::print("{} {}: {}\n", argv[i], what, status.error().message);
    ++failed;
  }
  return failed;
}
