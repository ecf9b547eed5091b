// How fast unpacked panels are multiplied with full tiles of tokens, and unpacked, all from the nearest caches: one
// thread, two panels of 16 groups. "share" is that of the best instruction's peak. METALLIC_ISA sets the table.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/cpu/panels.h"
#include "backend/cpu/scratch.h"
#include "bench/panel_bench.h"
#include "metallic/format.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kGroups = 16, kRounds = 4096;

void products(benchmark::State& state, Format name) {
  if (bench_kernels().format(name) == nullptr) return state.SkipWithError("these kernels are not for this format");
  const PanelFormat& format = *bench_kernels().format(name);
  const int panels = bench_kernels().panels, width = bench_kernels().width;
  const auto count = int(state.range(0));
  if (count > bench_kernels().tiles.tokens) return state.SkipWithError("too many tokens for these kernels");
  const auto row_bytes = int64_t(format_bytes(name, uint64_t(kGroups * kGroupColumns)).value());
  const std::vector<uint8_t> rows = random_blocks(row_bytes * width);
  std::vector<uint8_t> packed(size_t(format.panel_bytes(kGroups)));
  format.pack(rows.data(), row_bytes, width, kGroups, packed.data(), format.chunk_bytes);
  const int64_t scales = kGroups * format.halves * width;
  std::vector<float> sums(size_t(count * panels * width));
  const int64_t code_floats = panels * kGroups * kGroupColumns * width / int64_t(sizeof(float));
  Scratch scratch, tokens_scratch;
  const bool multiples = bench_kernels().tiles.multiples && bench_kernels().has_multiples(format);
  float* memory = scratch.floats(code_floats + (2 + kScaleSteps) * panels * scales);
  const UnpackedPanel panel{reinterpret_cast<uint8_t*>(memory), memory + code_floats,
                            memory + code_floats + panels * scales, memory + code_floats + 2 * panels * scales};
  std::vector<float> x(size_t(kGroups * kGroupColumns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i % 17) - 8.0f;
  auto* token_codes = reinterpret_cast<int8_t*>(tokens_scratch.floats(kGroups * kGroupColumns * count));
  std::vector<TokenGroup> info(size_t(kGroups * count));
  for (int t = 0; t < count; ++t) bench_kernels().quantize(x.data(), kGroups, t, count, token_codes, info.data());

  const DotUnpacked dot = bench_kernels().unpacked_dots(format, multiples).dot[panels][count];
  double unpacking = 1e9, multiplying = 1e9, peak = 0;
  for (auto _ : state) {
    unpacking = std::min(unpacking, seconds_of([&] {
                           for (int64_t i = 0; i < kRounds; ++i)
                             for (int64_t p = 0; p < panels; ++p)
                               format.unpack({packed.data(), format.chunk_bytes}, 0, kGroups,
                                             panel.further(p * kGroups, format.halves, width));
                         }));
    if (multiples) bench_kernels().multiply_scales(panel.scales, panels * scales / width, panel.multiples);
    multiplying = std::min(multiplying, seconds_of([&] {
                             for (int64_t i = 0; i < kRounds; ++i)
                               dot(panel, kGroups, kGroups, {token_codes, info.data()}, {sums.data()});
                             if (bench_kernels().release != nullptr) bench_kernels().release();
                           }));
    int64_t operations = 0;
    const double seconds = seconds_of([&] { operations = bench_kernels().peak(kRounds); });
    peak = std::max(peak, double(operations) / seconds);
  }
  benchmark::DoNotOptimize(sums.data());
  const double operations = 2.0 * double(kRounds * panels * width * count * kGroups * kGroupColumns);
  state.counters["Gop/s"] = operations * 1e-9 / multiplying;
  state.counters["share"] = operations / multiplying / peak;
  state.counters["ns/group"] = multiplying * 1e9 / double(kRounds * kGroups);  // of two panels
  state.counters["unpack ns/group"] = unpacking * 1e9 / double(kRounds * kGroups);
}

void register_all() {
  for (const Format format : {Format::kQ4_0, Format::kQ8_0, Format::kQ4_K, Format::kQ6_K, Format::kQ2_K})
    benchmark::RegisterBenchmark((std::string("unpacked/") + format_info(format).name).c_str(),
                                 [=](benchmark::State& state) { products(state, format); })
        ->ArgName("tokens")
        ->Arg(1)
        ->Arg(4)
        ->Arg(kMaxPackedTokens)
        ->Arg(8)
        ->Arg(10)
        ->Arg(kMaxPanelTokens)
        ->Iterations(10)
        ->Unit(benchmark::kMillisecond);
}

[[maybe_unused]] const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace metallic::cpu
