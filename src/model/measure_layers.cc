#include "model/measure_layers.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <vector>

#include "base/available_memory.h"
#include "base/error.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace metallic {
namespace {

// Bytes that a step reads, at least, of the free memory, and at most; products are all that is measured of some, and
// may take more: the caches of a large machine hold 300 MB.
constexpr uint64_t kLeastRead = uint64_t{256} << 20, kReadShare = 64, kMostRead = uint64_t{1} << 30;
constexpr uint64_t kProductShare = 32, kMostOfProducts = uint64_t{3} << 30;
constexpr int kPageTokens = 32;
constexpr int kDeep = 512;       // positions before a token, where attention is measured
constexpr int kDecodeSteps = 9;  // of which the median counts
constexpr int kProductPasses = 25;
constexpr int kLongStep = 4;      // usual ones
constexpr int kPromptSteps = 3;   // likewise, after one to get ready
constexpr double kEnough = 0.75;  // seconds of prompts after which one more step is not worth it

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + ptrdiff_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// What a step reads and does in the first layers.
struct Work {
  int layers = 0;
  double bytes = 0, operations = 0, held = 0;
  double always = 0;  // of the bytes, what every token uses
};

Work first_layers(const ModelSizes& sizes, bool gpu, uint64_t share, uint64_t most) {
  std::vector<Work> layers(size_t(sizes.layers));
  for (const Block& block : sizes.blocks) {
    if (block.layer < 0) continue;
    Work& work = layers[size_t(block.layer)];
    const double bytes = double(gpu ? block.gpu_bytes : block.cpu_bytes);
    work.bytes += bytes * block.use;
    work.operations += block.operations * block.use;
    work.held += bytes;
    if (block.kind != BlockKind::kExpert) work.always += bytes;
  }
  // The larger the machine, the larger its caches.
  const double beyond_caches = double(std::clamp(available_memory() / share, kLeastRead, most));
  Work sum;
  // The first layers of some mixtures are dense: what is measured ends with a usual one.
  const double usual = sizes.layers > 0 ? layers.back().held : 0;
  for (const Work& work : layers) {
    sum.bytes += work.bytes;
    sum.operations += work.operations;
    sum.held += work.held;
    sum.always += work.always;
    ++sum.layers;
    if (sum.bytes >= beyond_caches && work.held >= 0.9 * usual) break;
    if (sum.held >= 2 * beyond_caches) break;
  }
  return sum;
}

class LayerTimer {
 public:
  LayerTimer(const Config& config, Decoder decoder, KvCache cache)
      : config_(config), decoder_(std::move(decoder)), cache_(std::move(cache)) {
    pages_.resize(size_t(cache_.pages()));
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  // The median of some steps of `rows` tokens behind `position`.
  Result<double> step(int rows, int position, bool with_head, int times) {
    std::vector<double> seconds;
    double all = 0;
    for (int i = 0; i <= times; ++i) {
      METALLIC_ASSIGN(const double one, once(rows, position, with_head));
      if (i > 0) seconds.push_back(one), all += one;  // the first to get ready
      if (i > 0 && rows > 1 && all > kEnough) break;
    }
    return median(seconds);
  }

  Result<double> once(int rows, int position, bool with_head) {
    Batch batch;
    for (int i = 0; i < rows; ++i) {
      last_token_ = last_token_ * 1664525u + 1013904223u;  // any do
      batch.tokens.push_back(int32_t((last_token_ >> 8) % uint32_t(config_.vocab)));
      batch.positions.push_back(position + i);
    }
    batch.sequences.push_back({0, rows, position, pages_.data()});
    if (with_head) batch.logit_rows.push_back(rows - 1);
    const auto start = std::chrono::steady_clock::now();
    METALLIC_TRY(decoder_.run(batch, cache_, logits_));  // waits for it
    return seconds_since(start);
  }

 private:
  const Config& config_;
  Decoder decoder_;
  KvCache cache_;
  std::vector<int32_t> pages_;
  std::vector<float> logits_;
  uint32_t last_token_ = 0;
};

Result<LayerTimer> make_timer(const Config& config, const Weights& weights, Backend& backend, int prompt) {
  const int context = kDeep + prompt;
  METALLIC_ASSIGN(Decoder decoder, Decoder::create(config, weights, backend, prompt, context));
  METALLIC_ASSIGN(KvCache cache, KvCache::create(config, backend, context / kPageTokens, kPageTokens, KvFormats()));
  return LayerTimer(config, std::move(decoder), std::move(cache));
}

// 0 where memory is short.
double long_step(const Config& config, const Weights& weights, Backend& backend) {
  const int prompt = kLongStep * kUsualStep;
  auto timer = make_timer(config, weights, backend, prompt);
  return timer ? timer->step(prompt, 0, false, kPromptSteps).value_or(0) : 0;
}

double bytes_of_head(const ModelSizes& sizes, bool gpu) {
  double bytes = 0;
  for (const Block& block : sizes.blocks)
    if (block.kind == BlockKind::kHead) bytes += double(gpu ? block.gpu_bytes : block.cpu_bytes);
  return bytes;
}

bool can_measure(const Config& config, const Work& work, double head_bytes) {
  return config.causal && work.layers > 0 && 2 * (work.held + head_bytes) <= double(available_memory());
}

// The matrices that every token multiplies by, each row of them those that share an input.
std::vector<std::vector<const Weight*>> products_of(const LayerWeights& layer) {
  const LatentAttention& latent = layer.latent;
  std::vector<std::vector<const Weight*>> products = {{&layer.query.weight, &layer.key.weight, &layer.value.weight},
                                                      {&latent.query_down},
                                                      {&latent.query},
                                                      {&latent.key_value_down},
                                                      {&latent.key_value},
                                                      {&layer.attention_output.weight}};
  for (const FeedForward* ffn : {&layer.ffn, &layer.experts.shared}) {
    products.push_back({&ffn->gate.weight, &ffn->up.weight});
    products.push_back({&ffn->down.weight});
  }
  for (std::vector<const Weight*>& product : products)
    std::erase_if(product, [](const Weight* weight) { return weight->rows() == 0; });
  std::erase_if(products, [](const std::vector<const Weight*>& product) { return product.empty(); });
  return products;
}

// The median of some passes over the products of all layers, with one token.
Result<double> time_products(Backend& backend, const Weights& weights) {
  std::vector<std::vector<const Weight*>> products;
  for (const LayerWeights& layer : weights.layers)
    for (std::vector<const Weight*>& product : products_of(layer)) products.push_back(std::move(product));
  int64_t columns = 1, rows = 1;
  for (const std::vector<const Weight*>& product : products) {
    int64_t all = 0;
    for (const Weight* weight : product) all += weight->rows();
    columns = std::max(columns, product.front()->columns());
    rows = std::max(rows, all);
  }
  METALLIC_ASSIGN(const std::shared_ptr<void> x, backend.allocate(uint64_t(columns) * sizeof(float)));
  METALLIC_ASSIGN(const std::shared_ptr<void> out, backend.allocate(uint64_t(rows) * sizeof(float)));
  std::vector<double> seconds;
  for (int i = 0; i < kProductPasses; ++i) {
    const auto start = std::chrono::steady_clock::now();
    for (const std::vector<const Weight*>& product : products) {
      std::vector<LinearTarget> targets;
      float* to = static_cast<float*>(out.get());
      for (const Weight* weight : product) {
        targets.push_back({weight, nullptr, TensorView::dense(to, Format::kF32, {1, weight->rows()}), false});
        to += weight->rows();
      }
      backend.linear({TensorView::dense(x.get(), Format::kF32, {1, product.front()->columns()}), targets});
    }
    METALLIC_TRY(backend.synchronize());
    seconds.push_back(seconds_since(start));
  }
  return median(seconds);
}

}  // namespace

Result<double> measure_products(std::shared_ptr<Backend> host, std::shared_ptr<const GgufFile> file,
                                const Config& given, const ModelSizes& sizes, const std::function<void()>& before) {
  const Work work = first_layers(sizes, false, kProductShare, kMostOfProducts);
  if (!can_measure(given, work, bytes_of_head(sizes, false))) return 0.0;
  Config config = given;
  config.layers = work.layers;
  METALLIC_ASSIGN(const Weights weights, load_first_layers(file, config, *host));
  before();
  METALLIC_ASSIGN(const double seconds, time_products(*host, weights));
  return work.always / seconds;
}

Result<LayerRates> measure_layers(std::shared_ptr<Backend> backend, std::shared_ptr<const GgufFile> file,
                                  const Config& given, const ModelSizes& sizes) {
  const bool gpu = !backend->name().starts_with("cpu");
  const int prompt = gpu ? kUsualStep : kUsualStep / 2;
  const Work work = first_layers(sizes, gpu, kReadShare, kMostRead);
  const double head_bytes = bytes_of_head(sizes, gpu);
  if (!can_measure(given, work, head_bytes)) return LayerRates{};
  Config config = given;
  config.layers = work.layers;
  METALLIC_ASSIGN(const Weights weights, load_first_layers(file, config, *backend));
  const int64_t learned = weights.positions.rows();  // 0: any number will do
  if (learned > 0 && learned < kDeep + prompt) return LayerRates{};
  METALLIC_ASSIGN(LayerTimer timer, make_timer(config, weights, *backend, prompt));

  // A backend may lay its weights out when they are used for the second time; many tokens use all experts.
  for (int i = 0; i < 2; ++i) METALLIC_TRY(timer.once(prompt, 0, true));
  METALLIC_ASSIGN(const double first_prompt, timer.step(prompt, 0, false, kPromptSteps));
  METALLIC_ASSIGN(const double later_prompt, timer.step(prompt, kDeep, false, kPromptSteps));
  METALLIC_ASSIGN(const double decode, timer.step(1, 0, false, kDecodeSteps));
  METALLIC_ASSIGN(const double deep, timer.step(1, kDeep, false, kDecodeSteps));
  METALLIC_ASSIGN(const double with_head, timer.step(1, 0, true, kDecodeSteps));

  LayerRates rates;
  rates.decode_bytes_per_second = work.bytes / decode;
  if (with_head > decode) rates.head_bytes_per_second = head_bytes / (with_head - decode);
  const double pairs = double(prompt) * kDeep;  // that the later step sees more
  const double attention = double(work.layers) * sizes.attention_operations * pairs;
  if (later_prompt > first_prompt) rates.attention_operations_per_second = attention / (later_prompt - first_prompt);
  const double own = rates.attention_operations_per_second > 0
                         ? double(work.layers) * sizes.attention_operations * prompt * prompt / 2 /
                               rates.attention_operations_per_second
                         : 0;
  rates.prompt_operations_per_second = work.operations * prompt / std::max(first_prompt - own, 0.5 * first_prompt);
  if (gpu && rates.attention_operations_per_second > 0) {
    const double attention_seconds = double(work.layers) * sizes.attention_operations / 2 *
                                     (kLongStep * kLongStep - 1) * prompt * prompt /
                                     rates.attention_operations_per_second;
    constexpr double kLeast = 0.25;  // of the first: times of small models are uncertain
    if (const double seconds = long_step(config, weights, *backend); seconds > first_prompt)
      rates.long_prompt_operations_per_second =
          work.operations * (kLongStep - 1) * prompt /
          std::max(seconds - first_prompt - attention_seconds, kLeast * first_prompt);
  }
  if (deep > decode)
    rates.attention_bytes_per_second = double(work.layers) * kDeep * double(sizes.kv_token_bytes) / (deep - decode);
  return rates;
}

}  // namespace metallic
