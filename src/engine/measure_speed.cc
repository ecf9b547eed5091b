#include "engine/measure_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "engine/evaluator.h"

namespace metallic {
namespace {

constexpr int kWarmSteps = 4;  // of decoding

DeviceLimits better(const DeviceLimits& a, const DeviceLimits& b) {
  return {std::max(a.read_bytes_per_second, b.read_bytes_per_second),
          std::max(a.dot_operations_per_second, b.dot_operations_per_second)};
}

}  // namespace

std::string SpeedTest::name() const {
  std::string text = fmt::format("{}{}", kind == Kind::kPrompt ? "pp" : "tg", tokens);
  if (sequences > 1) text += fmt::format("x{}", sequences);
  if (depth > 0) text += fmt::format("@d{}", depth);
  return text;
}

WeightCost WeightCost::of(const GgufFile& file, const Config& config) {
  WeightCost cost;
  if (config.experts.count > 0) cost.used_share_ = double(config.experts.used) / double(config.experts.count);
  const bool own_head = file.find_tensor("output.weight") != nullptr;
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.rank < 2 || tensor.name == "position_embd.weight" || tensor.name == "token_types.weight") continue;
    const bool embedding = tensor.name == "token_embd.weight";
    if (embedding && (own_head || config.spec->encoder)) continue;  // rows of it, next to nothing
    Part& part = embedding || tensor.name == "output.weight"            ? cost.head_
                 : tensor.name.find("_exps.") != std::string_view::npos ? cost.experts_
                                                                        : cost.layers_;
    part.bytes += double(tensor.bytes);
    part.weights += double(tensor.elements());
  }
  return cost;
}

double WeightCost::step_bytes(int sequences) const {
  const double unused = std::pow(1.0 - used_share_, double(sequences));
  return layers_.bytes + head_.bytes + experts_.bytes * (1.0 - unused);
}

double WeightCost::prompt_operations(int tokens) const {
  return 2 * ((layers_.weights + experts_.weights * used_share_) * double(tokens) + head_.weights);
}

double SpeedResult::mean() const {
  return std::accumulate(tokens_per_second.begin(), tokens_per_second.end(), 0.0) / double(tokens_per_second.size());
}

double SpeedResult::deviation() const {
  if (tokens_per_second.size() < 2) return 0;
  double squares = 0;
  for (const double x : tokens_per_second) squares += (x - mean()) * (x - mean());
  return std::sqrt(squares / double(tokens_per_second.size() - 1));
}

double SpeedResult::median() const {
  std::vector<double> sorted = tokens_per_second;
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double SpeedResult::bytes_per_second() const { return step_bytes * median() / test.sequences; }

double SpeedResult::operations_per_second() const { return operations * median() / test.tokens; }

double SpeedResult::share() const {
  const bool decode = test.kind == SpeedTest::Kind::kDecode;
  const double limit = decode ? limits.read_bytes_per_second : limits.dot_operations_per_second;
  return limit == 0 ? 0 : (decode ? bytes_per_second() : operations_per_second()) / limit;
}

SpeedTester::SpeedTester(std::shared_ptr<const Model> model, const SpeedOptions& options, Decoder decoder,
                         KvCache cache, int context)
    : model_(std::move(model)),
      options_(options),
      decoder_(std::move(decoder)),
      cache_(std::move(cache)),
      context_(context),
      pages_(size_t(cache_.pages())),
      filled_(size_t(cache_.pages() / pages_for(context)), 0) {
  std::iota(pages_.begin(), pages_.end(), 0);
}

Result<std::unique_ptr<SpeedTester>> SpeedTester::create(std::shared_ptr<const Model> model,
                                                         std::span<const SpeedTest> tests,
                                                         const SpeedOptions& options) {
  int context = 1, sequences = 1;
  for (const SpeedTest& test : tests) {
    context = std::max(context, test.depth + test.tokens);
    sequences = std::max(sequences, test.sequences);
    if (model->config().causal) continue;
    if (test.kind == SpeedTest::Kind::kDecode || test.depth > 0)
      return fail(ErrorCode::kInvalidArgument,
                  "{}: this model reads a text whole and generates none; measure it with -n 0 and no depth",
                  model->file().path());
    if (test.tokens > options.step_rows)
      return fail(ErrorCode::kInvalidArgument,
                  "{}: this model reads a text whole, {} tokens do not fit into steps of {}; raise -ub to that",
                  model->file().path(), test.tokens, options.step_rows);
  }
  const int64_t pages = int64_t(pages_for(context)) * sequences;
  if (pages > INT32_MAX / kPageTokens)
    return fail(ErrorCode::kOutOfMemory, "{} sequences of {} tokens are too many for a KV cache", sequences, context);
  const int rows = std::max(std::min(options.step_rows, context), sequences);
  METALLIC_ASSIGN(Decoder decoder, Decoder::create(model->config(), model->weights(), model->backend(), rows, context));
  METALLIC_ASSIGN(KvCache cache,
                  KvCache::create(model->config(), model->backend(), int(pages), kPageTokens, options.kv_formats));
  return std::unique_ptr<SpeedTester>(
      new SpeedTester(std::move(model), options, std::move(decoder), std::move(cache), context));
}

// Any ids do: the work does not depend on them, but for a mixture's choice of experts.
int32_t SpeedTester::next_token() {
  last_token_ = last_token_ * 1664525u + 1013904223u;
  return int32_t((last_token_ >> 8) % uint32_t(model_->config().vocab));
}

const int32_t* SpeedTester::pages(int sequence) const {
  return pages_.data() + size_t(sequence) * size_t(pages_for(context_));
}

Status SpeedTester::feed(int sequence, int first, int count) {
  for (int at = 0; at < count;) {
    const int rows = std::min(count - at, std::min(options_.step_rows, decoder_.max_rows()));
    Batch batch;
    for (int i = 0; i < rows; ++i) {
      batch.tokens.push_back(next_token());
      batch.positions.push_back(first + at + i);
    }
    batch.sequences.push_back({0, rows, first + at, pages(sequence)});
    at += rows;
    if (at == count) batch.logit_rows.push_back(rows - 1);
    METALLIC_TRY(decoder_.run(batch, cache_, logits_));
  }
  return {};
}

Status SpeedTester::step(int sequences, int position) {
  Batch batch;
  for (int sequence = 0; sequence < sequences; ++sequence) {
    batch.tokens.push_back(next_token());
    batch.positions.push_back(position);
    batch.sequences.push_back({sequence, 1, position, pages(sequence)});
    batch.logit_rows.push_back(sequence);
  }
  return decoder_.run(batch, cache_, logits_);
}

// What lies before `depth` is never written again, so that each sequence is filled once.
Status SpeedTester::fill(int sequences, int depth) {
  for (int sequence = 0; sequence < sequences; ++sequence) {
    int& filled = filled_[size_t(sequence)];
    if (filled < depth) METALLIC_TRY(feed(sequence, filled, depth - filled));
    filled = std::max(filled, depth);
  }
  return {};
}

Status SpeedTester::work(const SpeedTest& test, int tokens) {
  if (test.kind == SpeedTest::Kind::kPrompt) return feed(0, test.depth, tokens);
  for (int i = 0; i < tokens; ++i) METALLIC_TRY(step(test.sequences, test.depth + i));
  return {};
}

Result<SpeedResult> SpeedTester::run(const SpeedTest& test, const std::function<void()>& on_start) {
  METALLIC_CHECK(test.tokens > 0 && test.depth + test.tokens <= context_ && size_t(test.sequences) <= filled_.size());
  SpeedResult result;
  result.test = test;
  const WeightCost cost = WeightCost::of(model_->file(), model_->config());
  const bool decode = test.kind == SpeedTest::Kind::kDecode;
  (decode ? result.step_bytes : result.operations) =
      decode ? cost.step_bytes(test.sequences) : cost.prompt_operations(test.tokens);
  METALLIC_TRY(fill(test.sequences, test.depth));
  result.limits = model_->backend().measure_limits();
  // The first time twice: a backend may lay its weights out when they are used for the second time.
  for (int passes = std::exchange(warm_, true) ? 1 : 2; passes > 0; --passes)
    METALLIC_TRY(work(test, decode ? std::min(test.tokens, kWarmSteps) : test.tokens));
  if (on_start) on_start();
  Residency* residency = model_->residency();
  const Residency::Traffic before = residency ? residency->traffic() : Residency::Traffic();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < options_.repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    METALLIC_TRY(work(test, test.tokens));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result.tokens_per_second.push_back(double(test.tokens) * double(test.sequences) / seconds);
  }
  if (residency) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const Residency::Traffic after = residency->traffic();
    result.copied = double(after.copied - before.copied) / seconds;
    result.read = double(after.read - before.read) / seconds;
    if (residency->on_device()) result.link = residency->measure_link();
  }
  result.limits = better(result.limits, model_->backend().measure_limits());
  METALLIC_TRY(model_->file().check_intact());  // weights of a file that was cut short read as zero
  return result;
}

Status first_token(const Model& model, const KvFormats& kv_formats) {
  constexpr int kPrompt = 5;
  METALLIC_ASSIGN(Decoder decoder,
                  Decoder::create(model.config(), model.weights(), model.backend(), kPrompt, kPageTokens));
  METALLIC_ASSIGN(KvCache cache, KvCache::create(model.config(), model.backend(), 1, kPageTokens, kv_formats));
  const int32_t page = 0;
  Batch batch;
  for (int i = 0; i < kPrompt; ++i) {
    batch.tokens.push_back((i + 1) % model.config().vocab);
    batch.positions.push_back(i);
  }
  batch.sequences.push_back({0, kPrompt, 0, &page});
  batch.logit_rows.push_back(kPrompt - 1);
  std::vector<float> logits;
  METALLIC_TRY(decoder.run(batch, cache, logits));
  return model.file().check_intact();
}

}  // namespace metallic
