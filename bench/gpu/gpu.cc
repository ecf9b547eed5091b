// Times decoding, prompts and batched decoding of whole models with random weights on a backend, and prints tokens a
// second, the share of the memory's reading rate measured in the same run, and of the bfloat16 rate.
//
//   bench_gpu [SHAPE FORMAT]…      SHAPE: qwen2.5-0.5b, llama3.2-1b, qwen2.5-7b; FORMAT: Q4_0, Q8_0, Q4_K, Q6_K, BF16,
//   METALLIC_DEVICE=cpu bench_gpu …     the same on another backend
//   METALLIC_MEASURE=tg,pp,batch        only some of the measurements
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <string>

#include "backend/cuda/cuda.h"
#include "base/error.h"
#include "model/forward.h"
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

  // Seconds for `sequences` sequences of `rows` tokens each, from `position` on; the last of each gives logits.
  Result<double> step(int sequences, int rows, int position, bool logits) {
    Batch batch;
    for (int s = 0; s < sequences; ++s) {
      batch.sequences.push_back({s * rows, rows, position, pages_.data() + s * kPagesOfOne});
      for (int i = 0; i < rows; ++i) {
        batch.tokens.push_back((s * 31 + (position + i) * 7919 + 13) % config_->vocab);
        batch.positions.push_back(position + i);
      }
      if (logits) batch.logit_rows.push_back((s + 1) * rows - 1);
    }
    const auto start = std::chrono::steady_clock::now();
    METALLIC_TRY(decoder_.run(batch, cache_, logits_));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  // The median tokens a second of decoding `tokens` steps behind `position`.
  Result<double> decode(int sequences, int position, int tokens, bool logits) {
    std::vector<double> rates;
    for (int repetition = 0; repetition < 4; ++repetition) {
      double seconds = 0;
      for (int i = 0; i < tokens; ++i) {
        METALLIC_ASSIGN(const double one, step(sequences, 1, position + i, logits));
        seconds += one;
      }
      if (repetition > 0) rates.push_back(tokens * sequences / seconds);
    }
    std::sort(rates.begin(), rates.end());
    return rates[rates.size() / 2];
  }

  Result<double> prompt(int rows) {
    std::vector<double> rates;
    for (int repetition = 0; repetition < 6; ++repetition) {
      METALLIC_ASSIGN(const double seconds, step(1, rows, 0, true));
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
};

bool is_wanted(const char* measurement) {
  const char* list = std::getenv("METALLIC_MEASURE");
  return list == nullptr || std::string(list).find(measurement) != std::string::npos;
}

Status run(const std::string& name, Format format, double read_rate) {
  const auto shape =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const auto& s) { return name == s.name; });
  if (shape == std::end(kShapes)) return fail(ErrorCode::kNotFound, "no shape is called {}", name);
  const char* device = std::getenv("METALLIC_DEVICE");
  METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open_backend(device ? device : "cuda", 0));
  const Config config = testing::config_of(*shape);
  const auto begin = std::chrono::steady_clock::now();
  RandomWeights random(*backend, format, uint64_t(shape->vocab) * uint64_t(shape->width));
  const auto loading = std::chrono::steady_clock::now();
  METALLIC_ASSIGN(const Weights weights, testing::random_weights(*shape, random));
  METALLIC_TRY(backend->synchronize());
  const double load = std::chrono::duration<double>(std::chrono::steady_clock::now() - loading).count();
  METALLIC_ASSIGN(Bench bench, Bench::create(*backend, config, weights));
  const double bytes = double(random.total());
  const double flops = 2 * (bytes / format_info(format).block_bytes * format_info(format).block_elements -
                            double(shape->vocab) * shape->width);
  fmt::print("| {} {} | load {:.2f} s |", name, format_info(format).name, load);
  if (is_wanted("tg")) {
    METALLIC_ASSIGN(const double tg, bench.decode(1, 0, 128, true));
    METALLIC_ASSIGN(const double tg_no_logits, bench.decode(1, 0, 128, false));
    fmt::print(" tg128 {:.0f} t/s, {:.1f} % of HBM | without head {:.0f} |", tg, 100 * tg * bytes / read_rate,
               tg_no_logits);
  }
  for (const int rows : {512, 2048}) {
    if (!is_wanted("pp")) break;
    METALLIC_ASSIGN(const double pp, bench.prompt(rows));
    fmt::print(" pp{} {:.0f} t/s, {:.0f} TFLOP/s |", rows, pp, pp * flops / 1e12);
  }
  for (const int sequences : {4, 16, 64, 128}) {
    if (!is_wanted("batch")) break;
    METALLIC_ASSIGN(const double rate, bench.decode(sequences, 128, 64, true));
    METALLIC_ASSIGN(const double no_logits, bench.decode(sequences, 128, 64, false));
    fmt::print(" batch {} {:.0f} t/s, without head {:.0f} |", sequences, rate, no_logits);
  }
  fmt::print(" {:.0f} s in all |\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  std::fflush(stdout);
  return {};
}

}  // namespace
}  // namespace metallic

int main(int argc, char** argv) {
  using namespace metallic;
  const auto rate = measure_cuda_read_rate(0);
  if (!rate) fmt::print("{}\n", rate.error().message);
  fmt::print("HBM is read at {:.2f} TB/s\n", rate ? *rate / 1e12 : 0.0);
  for (int i = 1; i + 1 < argc; i += 2) {
    const auto format = format_from_name(argv[i + 1]);
    const Status status = format ? run(argv[i], *format, rate ? *rate : 1e30)
                                 : fail(ErrorCode::kNotFound, "no format is called {}", argv[i + 1]);
    if (!status) fmt::print("{} {}: {}\n", argv[i], argv[i + 1], status.error().message);
  }
  return 0;
}
