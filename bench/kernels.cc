// How fast the coarse operations of the cpu backend are: linear for each common format with one token (the bytes of the
// weight over the memory's bandwidth are the floor) and with many (the peak of the fused multiply-add), and attention.
// METALLIC_BENCH_THREADS sets the threads, METALLIC_ISA the instruction set.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "backend/backend.h"

namespace metallic {
namespace {

std::shared_ptr<Backend> backend() {
  static const std::shared_ptr<Backend> instance = [] {
    const char* threads = std::getenv("METALLIC_BENCH_THREADS");
    return open_backend("cpu", threads != nullptr ? std::atoi(threads) : 0).value();
  }();
  return instance;
}

std::shared_ptr<void> memory(int64_t bytes) { return backend()->allocate(uint64_t(bytes)).value(); }

std::shared_ptr<void> random_floats(int64_t count) {
  std::shared_ptr<void> floats = memory(count * int64_t(sizeof(float)));
  backend()->random_uniform(TensorView::dense(floats.get(), Format::kF32, {count}), -1.0f, 1.0f, 1);
  return floats;
}

// Any bytes are valid weights; these have small positive scales.
std::shared_ptr<void> random_blocks(uint64_t bytes) {
  std::shared_ptr<void> blocks = memory(int64_t(bytes));
  auto* byte = static_cast<uint8_t*>(blocks.get());
  uint32_t state = 1;
  for (uint64_t i = 0; i < bytes; ++i) byte[i] = uint8_t((state = state * 1664525u + 1013904223u) >> 26);
  return blocks;
}

// Enough matrices that one token's work never finds its weight in a cache.
constexpr uint64_t kWorkingSet = 512ull << 20;

void linear(benchmark::State& state, Format format, int64_t rows, int64_t columns) {
  const int64_t tokens = state.range(0);
  const uint64_t bytes = format_bytes(format, uint64_t(rows * columns)).value();
  const uint64_t copies = tokens == 1 ? std::max<uint64_t>(1, kWorkingSet / bytes) : 1;
  const std::shared_ptr<void> blocks = random_blocks(bytes * copies);
  const std::shared_ptr<void> x = random_floats(tokens * columns), out = memory(tokens * rows * 4);
  std::vector<Weight> weights;
  for (uint64_t i = 0; i < copies; ++i) {
    char* data = static_cast<char*>(blocks.get()) + i * bytes;
    weights.push_back(backend()->load_weight(TensorView::dense(data, format, {rows, columns}), blocks).value());
  }
  size_t next = 0;
  for (auto _ : state) {
    const LinearTarget target{&weights[next++ % weights.size()], nullptr,
                              TensorView::dense(out.get(), Format::kF32, {tokens, rows}), false};
    backend()->linear({TensorView::dense(x.get(), Format::kF32, {tokens, columns}), {&target, 1}});
  }
  const double steps = double(state.iterations());
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(steps * double(bytes) * 1e-9, Counter::kIsRate);
  state.counters["GFLOP/s"] = Counter(steps * 2e-9 * double(rows * columns * tokens), Counter::kIsRate);
}

// One sequence: 14 query heads and 2 KV heads of 64, the last `rows` positions of a context.
void attention(benchmark::State& state, Format format) {
  constexpr int64_t kHeads = 14, kKvHeads = 2, kWidth = 64, kPage = 32;
  const int64_t rows = state.range(0), context = state.range(1), pages = (context + kPage - 1) / kPage;
  const std::shared_ptr<void> query = random_floats(rows * kHeads * kWidth), out = memory(rows * kHeads * kWidth * 4);
  const std::shared_ptr<void> keys = memory(pages * kPage * kKvHeads * kWidth * 4);
  const std::shared_ptr<void> values = memory(pages * kPage * kKvHeads * kWidth * 4);
  std::vector<int32_t> table;
  for (int64_t i = 0; i < pages; ++i) table.push_back(int32_t(i));
  const BatchSequence sequence{0, int32_t(rows), int32_t(context - rows), table.data()};
  const Shape shape{pages, kKvHeads, kPage, kWidth};
  const AttentionOp op{TensorView::dense(query.get(), Format::kF32, {rows, kHeads, kWidth}),
                       TensorView::dense(keys.get(), format, shape),
                       TensorView::dense(values.get(), format, shape),
                       TensorView::dense(out.get(), Format::kF32, {rows, kHeads, kWidth}),
                       {&sequence, 1},
                       0.125f,
                       0,
                       true};
  for (auto _ : state) backend()->attention(op);
  using benchmark::Counter;
  const double pairs = double(rows) * (double(context) - double(rows - 1) / 2);
  state.counters["GFLOP/s"] =
      Counter(double(state.iterations()) * 4e-9 * pairs * double(kHeads * kWidth), Counter::kIsRate);
}

void register_all() {
  for (const Format format :
       {Format::kF32, Format::kF16, Format::kBF16, Format::kQ4_0, Format::kQ4_1, Format::kQ5_0, Format::kQ8_0,
        Format::kQ3_K, Format::kQ4_K, Format::kQ5_K, Format::kQ6_K, Format::kIQ4_XS, Format::kIQ2_S}) {
    const std::string name = std::string("linear/") + format_info(format).name + "/4096x2048";
    benchmark::RegisterBenchmark(name.c_str(), [format](benchmark::State& state) { linear(state, format, 4096, 2048); })
        ->ArgName("tokens")
        ->Arg(1)
        ->Arg(8)
        ->Arg(512)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
  for (const Format format : {Format::kF32, Format::kF16})
    benchmark::RegisterBenchmark((std::string("attention/") + format_info(format).name).c_str(),
                                 [format](benchmark::State& state) { attention(state, format); })
        ->ArgNames({"rows", "context"})
        ->Args({1, 512})
        ->Args({1, 8192})
        ->Args({512, 512})
        ->Args({512, 4096})
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
}

[[maybe_unused]] const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace metallic
