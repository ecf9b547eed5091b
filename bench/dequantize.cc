// How fast weights become float32: the loop that defines each format, compiled without vectors, against the dequantiser
// of each instruction set.
//
//   cache/FORMAT/WHO            32768 weights, in the first and second cache, one thread
//   cache/FORMAT/WHO/TO         the same to F16 and BF16
//   memory/FORMAT/WHO/THREADS   64 MB of result, one thread and all
//   copy/THREADS                memcpy of 256 MB: the floor, bytes read and written over the memory's bandwidth
//
// and what docs/parallel-dequantisation.md is about, results of 4 KB to 1 GB:
//
//   sizes/FORMAT/KB/THREADS     the same result again and again, the threads forced
//   asleep/FORMAT/KB/THREADS    the same after a pause in which the team fell asleep
//   fresh/FORMAT/KB/THREADS     another result each time, in no cache, and read once when it is complete
//   grain/FORMAT/KB             as `sizes`, with as many threads as the code decides
//
// GB/s count what is read and what is written, for the copy too, over the processor's time for one thread (so that
// other programs disturb less) and over real time for several. METALLIC_BENCH_THREADS sets how many threads "all" are.
#include "bench/scalar/dequantize.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/cpu_features.h"
#include "base/processors.h"
#include "base/thread_pool.h"
#include "quant/dequantize_isa.h"
#include "quant/parallel_dequantize.h"

namespace metallic {
namespace {

int all_threads() {
  const char* variable = std::getenv("METALLIC_BENCH_THREADS");
  return variable != nullptr ? std::atoi(variable) : available_cores();
}

ThreadPool& pool(int threads) {
  static std::vector<std::unique_ptr<ThreadPool>> pools(257);
  std::unique_ptr<ThreadPool>& one = pools.at(size_t(threads));
  if (one == nullptr) one = std::make_unique<ThreadPool>(threads);
  return *one;
}

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char, Free>;

// At least `bytes` for one use, kept from one benchmark to the next. Touched, so that no page fault is measured; small
// numbers in every byte, so that no weight is subnormal or infinite.
struct Buffer {
  Memory memory;
  int64_t size = 0;

  char* at_least(int64_t bytes) {
    if (bytes <= size) return memory.get();
    memory.reset();
    size = (bytes + 4095) / 4096 * 4096;
    memory.reset(static_cast<char*>(std::aligned_alloc(4096, size_t(size))));
    uint32_t state = 1;
    for (int64_t i = 0; i < 4096; ++i) memory.get()[i] = char((state = state * 1664525u + 1013904223u) >> 26);
    for (int64_t i = 4096; i < size; i += 4096) std::memcpy(memory.get() + i, memory.get(), 4096);
    return memory.get();
  }
};
Buffer source, target;

void rate(benchmark::State& state, int64_t bytes) {
  state.counters["GB/s"] =
      benchmark::Counter(double(state.iterations()) * double(bytes) * 1e-9, benchmark::Counter::kIsRate);
}

// One call for each thread, on whole blocks, whatever the size.
void on_threads(int threads, Format format, DequantizeRow dequantize, const char* blocks, int64_t elements,
                float* out) {
  const FormatInfo& info = format_info(format);
  pool(threads).parallel_for(elements, 256, [&](int64_t begin, int64_t end) {
    dequantize(blocks + begin / info.block_elements * info.block_bytes, end - begin, out + begin);
  });
}

void dequantize(benchmark::State& state, Format format, DequantizeRow function, int64_t elements, int threads) {
  const int64_t bytes = int64_t(*format_bytes(format, uint64_t(elements)));
  const char* blocks = source.at_least(bytes);
  auto* weights = reinterpret_cast<float*>(target.at_least(elements * 4));
  for (auto _ : state) {
    on_threads(threads, format, function, blocks, elements, weights);
    benchmark::ClobberMemory();
  }
  rate(state, bytes + elements * 4);
}

// To a result narrower than float32.
void convert(benchmark::State& state, Format format, Format to, ConvertRow function, int64_t elements) {
  const int64_t bytes = int64_t(*format_bytes(format, uint64_t(elements)));
  const int64_t result = int64_t(*format_bytes(to, uint64_t(elements)));
  const char* blocks = source.at_least(bytes);
  char* out = target.at_least(result);
  for (auto _ : state) {
    function(blocks, elements, out);
    benchmark::ClobberMemory();
  }
  rate(state, bytes + result);
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void asleep(benchmark::State& state, Format format, DequantizeRow function, int64_t elements, int threads) {
  const int64_t bytes = int64_t(*format_bytes(format, uint64_t(elements)));
  const char* blocks = source.at_least(bytes);
  auto* weights = reinterpret_cast<float*>(target.at_least(elements * 4));
  for (auto _ : state) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    state.SetIterationTime(seconds_of([&] { on_threads(threads, format, function, blocks, elements, weights); }));
  }
  rate(state, bytes + elements * 4);
}

// The sum of all results on as many threads, as a consumer that reads them once.
void read_result(int threads, const float* weights, int64_t elements) {
  pool(threads).parallel_for(elements, 256, [&](int64_t begin, int64_t end) {
    float sums[64] = {};
    for (int64_t i = begin; i + 64 <= end; i += 64)
      for (int64_t j = 0; j < 64; ++j) sums[j] += weights[i + j];
    benchmark::DoNotOptimize(sums);
  });
}

void fresh(benchmark::State& state, Format format, DequantizeRow function, int64_t elements, int threads) {
  constexpr int64_t kRing = 1 << 28;  // weights: 1 GB
  const int64_t bytes = int64_t(*format_bytes(format, uint64_t(kRing)));
  const char* blocks = source.at_least(bytes);
  auto* weights = reinterpret_cast<float*>(target.at_least(kRing * 4));
  const FormatInfo& info = format_info(format);
  int64_t at = 0;
  for (auto _ : state) {
    on_threads(threads, format, function, blocks + at / info.block_elements * info.block_bytes, elements, weights + at);
    read_result(threads, weights + at, elements);
    at = (at + elements) % kRing;
  }
  rate(state, bytes / (kRing / elements) + elements * 4);
}

void as_decided(benchmark::State& state, Format format, int64_t elements) {
  const int64_t bytes = int64_t(*format_bytes(format, uint64_t(elements)));
  const char* blocks = source.at_least(bytes);
  auto* weights = reinterpret_cast<float*>(target.at_least(elements * 4));
  for (auto _ : state) {
    parallel_dequantize(format, blocks, elements, weights, pool(all_threads()));
    benchmark::ClobberMemory();
  }
  rate(state, bytes + elements * 4);
}

void copy(benchmark::State& state, int threads) {
  constexpr int64_t kBytes = 256 << 20;
  const char* from = source.at_least(kBytes);
  char* to = target.at_least(kBytes);
  for (auto _ : state) {
    pool(threads).parallel_for(
        kBytes, 4096, [&](int64_t begin, int64_t end) { std::memcpy(to + begin, from + begin, size_t(end - begin)); });
    benchmark::ClobberMemory();
  }
  rate(state, 2 * kBytes);
}

template <class Function>
void add(const std::string& name, int threads, const Function& function) {
  benchmark::internal::Benchmark* entry = benchmark::RegisterBenchmark(name.c_str(), function);
  entry->Unit(benchmark::kMicrosecond);
  if (threads > 1) entry->UseRealTime();
}

std::vector<quant::Dequantizers> dequantizers() {
  std::vector<quant::Dequantizers> all = {kScalarDequantizers, quant::kBaseDequantizers};
#if defined(__x86_64__)
  if (cpu_features().avx2) all.push_back(quant::kAvx2Dequantizers);
  if (cpu_features().avx512) all.push_back(quant::kAvx512Dequantizers);
#elif defined(__aarch64__)
  all.push_back(quant::kNeonDequantizers);
#endif
  return all;
}

void add_format(const FormatInfo& info) {
  constexpr int64_t kCached = 1 << 15, kLarge = 1 << 24;
  for (const quant::Dequantizers& each : dequantizers()) {
    const char* const who = each.name;
    const DequantizeRow function = each.to_float(info.format);
    for (const Format to : {Format::kF16, Format::kBF16})
      add(fmt::format("cache/{}/{}/{}", info.name, who, format_info(to).name), 1,
          [format = info.format, to, function = each.to(info.format, to)](benchmark::State& state) {
            convert(state, format, to, function, kCached);
          });
    const auto run = [format = info.format, function](int64_t elements, int threads) {
      return [=](benchmark::State& state) { dequantize(state, format, function, elements, threads); };
    };
    add(fmt::format("cache/{}/{}", info.name, who), 1, run(kCached, 1));
    add(fmt::format("memory/{}/{}/1", info.name, who), 1, run(kLarge, 1));
    if (all_threads() > 1)
      add(fmt::format("memory/{}/{}/{}", info.name, who, all_threads()), all_threads(), run(kLarge, all_threads()));
  }
}

void add_sizes(Format format) {
  const DequantizeRow function = dequantize_function(format);
  for (int64_t kilobytes = 4; kilobytes <= 1 << 20; kilobytes *= 2) {
    const int64_t elements = kilobytes * 256;
    const char* name = format_info(format).name;
    for (const int threads : {1, all_threads()}) {
      const auto name_of = [&](const char* kind) { return fmt::format("{}/{}/{}/{}", kind, name, kilobytes, threads); };
      add(name_of("sizes"), threads,
          [=](benchmark::State& state) { dequantize(state, format, function, elements, threads); });
      benchmark::RegisterBenchmark(name_of("asleep").c_str(),
                                   [=](benchmark::State& state) { asleep(state, format, function, elements, threads); })
          ->Unit(benchmark::kMicrosecond)
          ->UseManualTime()
          ->Iterations(elements < 1 << 24 ? 200 : 10);
      add(name_of("fresh"), 2, [=](benchmark::State& state) { fresh(state, format, function, elements, threads); });
    }
    add(fmt::format("grain/{}/{}", name, kilobytes), 2,
        [=](benchmark::State& state) { as_decided(state, format, elements); });
  }
}

[[maybe_unused]] const bool kRegistered = [] {
  for (const FormatInfo& info : all_formats()) add_format(info);
  for (const int threads : {1, all_threads()})
    add(fmt::format("copy/{}", threads), threads, [=](benchmark::State& state) { copy(state, threads); });
  for (const Format format : {Format::kQ8_0, Format::kQ4_K, Format::kIQ2_S}) add_sizes(format);
  return true;
}();

}  // namespace
}  // namespace metallic
