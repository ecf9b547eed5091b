// Times decoding, prompts and batched decoding of whole models with random weights on a backend, and prints tokens a
// second, the share of the memory's reading rate measured in the same run, and of the bfloat16 rate.
//
//   bench_gpu [SHAPE FORMAT]…      SHAPE: qwen2.5-0.5b, llama3.2-1b, qwen2.5-7b; FORMAT: Q4_0, Q8_0, Q4_K, Q6_K, BF16,
//   … METALLIC_DEVICE=cpu bench_gpu …   the same on another backend
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "backend/cuda/cuda.h"
#include "base/error.h"
#include "model/forward.h"
#include "quant/quantize.h"

namespace metallic {
namespace {

struct ModelShape {
  const char* name;
  const char* architecture;
  int layers, width, ff_width, heads, kv_heads, head_dim, vocab;
  bool qkv_bias;
};
constexpr ModelShape kShapes[] = {
    {"qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, true},
    {"llama3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, false},
    {"qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, true},
};

Config config_of(const ModelShape& shape) {
  Config config;
  config.spec = find_arch_spec(shape.architecture).value();
  config.layers = shape.layers;
  config.width = shape.width;
  config.ff_width = shape.ff_width;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = config.value_dim = shape.head_dim;
  config.vocab = shape.vocab;
  config.context_length = 8192;
  config.norm_epsilon = 1e-6f;
  config.attention_scale = 1 / std::sqrt(float(shape.head_dim));
  config.local.assign(size_t(shape.layers), false);
  config.rope.dims = shape.head_dim;
  config.rope.base = 1e6f;
  return config;
}

// Random weights of one format; all matrices come from the same bytes on the host.
class RandomWeights {
 public:
  RandomWeights(Backend& backend, Format format, uint64_t most_elements) : backend_(backend), format_(format) {
    constexpr int64_t kSample = 1 << 16;
    std::vector<float> values(kSample);
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.02f);
    for (float& value : values) value = normal(random);
    std::vector<char> sample(*format_bytes(format, kSample));
    quantize_rows(format, values.data(), 1, kSample, nullptr, sample.data());
    bytes_ = std::make_shared<std::vector<char>>(*format_bytes(format, (most_elements + 255) / 256 * 256));
    for (size_t at = 0; at < bytes_->size(); at += sample.size())
      std::memcpy(bytes_->data() + at, sample.data(), std::min(sample.size(), bytes_->size() - at));
  }

  Result<Weight> matrix(int64_t rows, int64_t columns) {
    total_ += *format_bytes(format_, uint64_t(rows * columns));
    return backend_.load_weight(TensorView::dense(bytes_->data(), format_, {rows, columns}), bytes_);
  }
  Result<DeviceVector> vector(int64_t size) {
    const std::vector<float> ones(size_t(size), 1.0f);
    METALLIC_ASSIGN(std::shared_ptr<void> memory, backend_.allocate(uint64_t(size) * sizeof(float)));
    backend_.copy_from_host(memory.get(), ones.data(), ones.size() * sizeof(float));
    return DeviceVector{std::move(memory), size};
  }
  uint64_t total() const { return total_; }

 private:
  Backend& backend_;
  Format format_;
  std::shared_ptr<std::vector<char>> bytes_;
  uint64_t total_ = 0;
};

Result<Weights> random_weights(const ModelShape& shape, RandomWeights& random) {
  Weights weights;
  const int64_t query = int64_t(shape.heads) * shape.head_dim, key = int64_t(shape.kv_heads) * shape.head_dim;
  const auto projection = [&](int64_t rows, int64_t columns, bool bias) -> Result<Projection> {
    Projection result;
    METALLIC_ASSIGN(result.weight, random.matrix(rows, columns));
    if (bias) {
      METALLIC_ASSIGN(result.bias, random.vector(rows));
    }
    return result;
  };
  METALLIC_ASSIGN(weights.embedding, random.matrix(shape.vocab, shape.width));
  weights.head.weight = weights.embedding;
  for (int i = 0; i < shape.layers; ++i) {
    LayerWeights& layer = weights.layers.emplace_back();
    METALLIC_ASSIGN(layer.attention_norm.weight, random.vector(shape.width));
    METALLIC_ASSIGN(layer.ffn_norm.weight, random.vector(shape.width));
    METALLIC_ASSIGN(layer.query, projection(query, shape.width, shape.qkv_bias));
    METALLIC_ASSIGN(layer.key, projection(key, shape.width, shape.qkv_bias));
    METALLIC_ASSIGN(layer.value, projection(key, shape.width, shape.qkv_bias));
    METALLIC_ASSIGN(layer.attention_output, projection(shape.width, query, false));
    METALLIC_ASSIGN(layer.ffn.gate, projection(shape.ff_width, shape.width, false));
    METALLIC_ASSIGN(layer.ffn.up, projection(shape.ff_width, shape.width, false));
    METALLIC_ASSIGN(layer.ffn.down, projection(shape.width, shape.ff_width, false));
  }
  METALLIC_ASSIGN(weights.output_norm.weight, random.vector(shape.width));
  return weights;
}

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

Status run(const std::string& name, Format format, double read_rate) {
  const auto shape =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const auto& s) { return name == s.name; });
  if (shape == std::end(kShapes)) return fail(ErrorCode::kNotFound, "no shape is called {}", name);
  const char* device = std::getenv("METALLIC_DEVICE");
  METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open_backend(device ? device : "cuda", 0));
  const Config config = config_of(*shape);
  const auto begin = std::chrono::steady_clock::now();
  RandomWeights random(*backend, format, uint64_t(shape->vocab) * uint64_t(shape->width));
  const auto loading = std::chrono::steady_clock::now();
  METALLIC_ASSIGN(const Weights weights, random_weights(*shape, random));
  METALLIC_TRY(backend->synchronize());
  const double load = std::chrono::duration<double>(std::chrono::steady_clock::now() - loading).count();
  METALLIC_ASSIGN(Bench bench, Bench::create(*backend, config, weights));
  const double bytes = double(random.total());
  const double flops = 2 * (bytes / format_info(format).block_bytes * format_info(format).block_elements -
                            double(shape->vocab) * shape->width);
  METALLIC_ASSIGN(const double tg, bench.decode(1, 0, 128, true));
  METALLIC_ASSIGN(const double tg_no_logits, bench.decode(1, 0, 128, false));
  fmt::print("| {} {} | load {:.2f} s | tg128 {:.0f} t/s, {:.1f} % of HBM | without head {:.0f} |", name,
             format_info(format).name, load, tg, 100 * tg * bytes / read_rate, tg_no_logits);
  for (const int rows : {512, 2048}) {
    METALLIC_ASSIGN(const double pp, bench.prompt(rows));
    fmt::print(" pp{} {:.0f} t/s, {:.0f} TFLOP/s |", rows, pp, pp * flops / 1e12);
  }
  for (const int sequences : {4, 16, 64}) {
    METALLIC_ASSIGN(const double rate, bench.decode(sequences, 128, 64, true));
    fmt::print(" batch {} {:.0f} t/s |", sequences, rate);
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
