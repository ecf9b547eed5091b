// How much of the read bandwidth the product of a packed matrix with one or a few tokens reaches, format by format:
// each round reads the panels with a plain loop and then multiplies them, so that both meet the same machine. The best
// round of each counts, since other processes only ever take away; "share" is their ratio. gemv/memory has panels far
// beyond all caches; gemv/cache has few enough for the second-level cache of each thread, which shows what the
// instructions alone would allow. METALLIC_BENCH_THREADS sets the threads, METALLIC_ISA the instruction set.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "backend/cpu/panels.h"
#include "base/thread_pool.h"
#include "bench/panel_bench.h"
#include "metallic/format.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kColumns = 2048, kGroups = kColumns / kGroupColumns;
constexpr int64_t kBytes = int64_t{256} << 20;        // of all panels, far beyond the caches
constexpr int64_t kCachedBytes = int64_t{384} << 10;  // of a thread
constexpr int64_t kRun = 64;                          // bundles of a call
constexpr int64_t kHugePage = int64_t{2} << 20;

ThreadPool& pool() {
  static ThreadPool instance([] {
    const char* threads = std::getenv("METALLIC_BENCH_THREADS");
    return threads != nullptr ? std::atoi(threads) : 0;
  }());
  return instance;
}

uint8_t* panels_memory() {
  static uint8_t* const memory = [] {
    void* mapped = ::mmap(nullptr, size_t(kBytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) std::abort();
    ::madvise(mapped, size_t(kBytes), MADV_HUGEPAGE);
    return static_cast<uint8_t*>(mapped);
  }();
  return memory;
}

// The panels of a matrix of `rows` rows, all of the same random bytes.
struct Matrix {
  const PanelFormat& format;
  int64_t bundles, bundle_bytes;

  Matrix(Format name, int64_t bytes)
      : format(*bench_kernels().format(name)),
        bundles(bytes / (bench_kernels().panels * format.panel_bytes(kGroups))),
        bundle_bytes(bench_kernels().panels * format.panel_bytes(kGroups)) {
    const auto row_bytes = int64_t(format_bytes(name, uint64_t(kColumns)).value());
    const std::vector<uint8_t> rows = random_blocks(row_bytes * bench_kernels().width);
    pool().parallel_for(bundles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t panel = 0; panel < bench_kernels().panels; ++panel)
          format.pack(rows.data(), row_bytes, bench_kernels().width, kGroups,
                      panels_memory() + i * bundle_bytes + panel * format.chunk_bytes, stride());
    });
  }
  int64_t bytes() const { return bundles * bundle_bytes; }
  int64_t stride() const { return bench_kernels().panels * format.chunk_bytes; }
  // `count` bundles from that one on.
  PackedPanels run(int64_t index, int64_t count) const {
    return {panels_memory() + index * bundle_bytes, stride(), count};
  }
};

void gemv(benchmark::State& state, Format name, bool cached) {
  const int64_t most = cached ? kCachedBytes * pool().size() : kBytes, rounds = cached ? 16 : 1;
  const Matrix matrix(name, most);
  const auto tokens = int(state.range(0));
  std::vector<float> x(kColumns);
  for (int64_t i = 0; i < kColumns; ++i) x[size_t(i)] = float(i % 17) - 8.0f;
  std::vector<int8_t> codes(size_t(kColumns * tokens));
  std::vector<TokenGroup> info(size_t(kGroups * tokens));
  for (int token = 0; token < tokens; ++token)
    bench_kernels().quantize(x.data(), kGroups, token, tokens, codes.data(), info.data());
  const TokenTile tile{codes.data(), info.data()};

  const DotPacked dot = matrix.format.packed_dot(bench_kernels().tiles.in_order, bench_kernels().panels, tokens);
  std::atomic<uint8_t> sink{0};
  double reading = 1e9, multiplying = 1e9;  // seconds
  for (auto _ : state) {
    reading =
        std::min(reading, seconds_of([&] {
                   pool().parallel_for(matrix.bytes(), cached ? 1024 : kHugePage, [&](int64_t begin, int64_t end) {
                     for (int64_t round = 0; round < rounds; ++round)
                       sink.fetch_or(bench_kernels().read(panels_memory() + begin, (end - begin) / 1024 * 1024),
                                     std::memory_order_relaxed);
                   });
                 }));
    const double seconds = seconds_of([&] {
      pool().parallel_for(matrix.bundles, 1, [&](int64_t begin, int64_t end) {
        const int64_t rows = kRun * bench_kernels().panels * bench_kernels().width;
        std::vector<float> sums(size_t(tokens * rows));
        for (int64_t round = 0; round < rounds; ++round)
          for (int64_t at = begin; at < end; at += kRun)
            dot(matrix.run(at, std::min(kRun, end - at)), kGroups, tile, {sums.data(), rows});
        benchmark::DoNotOptimize(sums.data());
      });
    });
    multiplying = std::min(multiplying, seconds);
    state.SetIterationTime(seconds);
  }
  const auto bytes = double(matrix.bytes() * rounds);
  state.counters["GB/s"] = bytes * 1e-9 / multiplying;
  state.counters["read"] = bytes * 1e-9 / reading;
  state.counters["share"] = reading / multiplying;
}

void register_all() {
  for (const Format format :
       {Format::kQ4_0, Format::kQ4_1, Format::kQ5_0, Format::kQ5_1, Format::kQ8_0, Format::kQ2_K, Format::kQ3_K,
        Format::kQ4_K, Format::kQ5_K, Format::kQ6_K, Format::kIQ4_NL, Format::kIQ4_XS}) {
    for (const bool cached : {false, true}) {
      const std::string name = std::string(cached ? "gemv/cache/" : "gemv/memory/") + format_info(format).name;
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { gemv(state, format, cached); })
          ->ArgName("tokens")
          ->DenseRange(1, 4)
          ->Arg(kMaxPackedTokens)
          ->UseManualTime()
          ->Iterations(cached ? 300 : 20)
          ->Unit(benchmark::kMillisecond);
    }
  }
}

[[maybe_unused]] const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace metallic::cpu
