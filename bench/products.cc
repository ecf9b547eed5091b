// What the parts of a product of many tokens with packed panels cost: quantising the tokens, gathering their second
// codes, and multiplying, on one thread. x is normally distributed, but for a share of its groups that stands out.
// METALLIC_ISA sets the table.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/packed.h"
#include "backend/cpu/panel_linear.h"
#include "backend/cpu/tuning.h"
#include "bench/panel_bench.h"
#include "metallic/format.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kRows = 256, kColumns = 2048;

void products(benchmark::State& state, Format format) {
  PanelKernels table = bench_kernels();
  table.tiles = tuned_tiles(table);
  if (table.format(format) == nullptr) return state.SkipWithError("these kernels are not for this format");
  const int64_t tokens = state.range(0);
  const int64_t outliers = state.range(1);  // per cent
  std::vector<uint8_t> rows = random_blocks(int64_t(format_bytes(format, uint64_t(kRows * kColumns)).value()));
  Weight weight{TensorView::dense(rows.data(), format, {kRows, kColumns}), nullptr, nullptr};
  auto packed = std::make_shared<PackedWeight>(*table.format(format), table.width, table.panels, weight.view, nullptr);
  std::vector<uint8_t> memory(size_t(packed->bytes()));
  packed->set_memory(std::shared_ptr<uint8_t>(std::shared_ptr<void>(), memory.data()));
  weight.packed = std::move(packed);
  std::vector<float> x(size_t(tokens * kColumns)), out(size_t(tokens * kRows));
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  for (float& value : x) value = normal(generator);
  for (size_t group = 0; group < x.size() / kGroupColumns; ++group)
    if (int64_t(generator() % 100) < outliers) x[group * kGroupColumns] = 20;

  PanelWork work;
  const size_t product = work.add_product(table, TensorView::dense(x.data(), Format::kF32, {tokens, kColumns}), tokens);
  work.add_target(table, product,
                  {&weight, nullptr, TensorView::dense(out.data(), Format::kF32, {tokens, kRows}), false});
  std::vector<std::byte> codes(size_t(work.bytes()) + 64);
  Scratch shared, scratch;
  for (int i = 0; i < 2; ++i) work.run(shared, scratch);  // what is packed is kept from now on
  work.set_memory(codes.data() + (64 - reinterpret_cast<uintptr_t>(codes.data()) % 64));
  double quantizing = 1e9, gathering = 1e9, multiplying = 1e9, peak = 0;
  for (auto _ : state) {
    quantizing = std::min(quantizing, seconds_of([&] {
                            for (int64_t tile = 0; tile < work.tiles(); ++tile) work.quantize(tile);
                          }));
    gathering = std::min(gathering, seconds_of([&] {
                           for (int64_t part = 0; part < work.parts(); ++part) work.gather(part);
                         }));
    multiplying = std::min(multiplying, seconds_of([&] { work.multiply(0, work.units(), scratch); }));
    int64_t operations = 0;
    const double seconds = seconds_of([&] { operations = table.peak(1 << 12); });
    peak = std::max(peak, double(operations) / seconds);
  }
  benchmark::DoNotOptimize(out.data());
  state.counters["quantize us"] = quantizing * 1e6;
  state.counters["gather us"] = gathering * 1e6;
  state.counters["multiply us"] = multiplying * 1e6;
  state.counters["share"] = 2.0 * double(tokens * kRows * kColumns) / multiplying / peak;
}

void register_all() {
  for (const Format format : {Format::kQ4_0, Format::kQ8_0, Format::kQ4_K, Format::kQ6_K})
    benchmark::RegisterBenchmark((std::string("products/") + format_info(format).name).c_str(),
                                 [=](benchmark::State& state) { products(state, format); })
        ->ArgNames({"tokens", "outliers"})
        ->ArgsProduct({{512, 16, 1}, {0, 5}})
        ->Iterations(20)
        ->Unit(benchmark::kMillisecond);
}

[[maybe_unused]] const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace metallic::cpu
