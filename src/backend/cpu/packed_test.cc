// When the cpu backend lets go of the bytes that a weight was packed from, and of those that it was packed to.
#include "backend/cpu/packed.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "backend/cpu/panel_linear.h"
#include "backend/test_support.h"

namespace metallic::cpu {
namespace {

using testing::blank;
using testing::Buffer;
using testing::Random;
using testing::upload;

struct Case {
  std::shared_ptr<Backend> backend;
  std::shared_ptr<std::vector<uint8_t>> bytes;
  Weight weight;
  std::weak_ptr<const void> alive;

  explicit Case(bool repack, Format format = Format::kQ4_0) {
    backend = make_cpu_backend({.threads = 2, .repack = repack}).value();
    bytes = std::make_shared<std::vector<uint8_t>>(Random(1).blocks(format, kRows * kColumns));
    const TensorView view = TensorView::dense(bytes->data(), format, {kRows, kColumns});
    weight = backend->load_weight(view, bytes).value();
    alive = bytes;
    bytes.reset();
  }
  void use() {
    const Buffer x = upload(*backend, Random(2).floats(kColumns), {1, kColumns}), out = blank(*backend, {1, kRows});
    const LinearTarget target{&weight, nullptr, out.view, false};
    backend->linear({x.view, {&target, 1}});
  }
  static constexpr int64_t kRows = 70, kColumns = 256;
};

TEST(PackedWeight, TheSecondUseLetsGoOfTheBytesItWasPackedFrom) {
  Case packed(true);
  EXPECT_FALSE(packed.alive.expired());
  packed.use();
  EXPECT_FALSE(packed.alive.expired());
  packed.use();
  EXPECT_TRUE(packed.alive.expired());
  packed.use();
}

TEST(PackedWeight, WithoutRepackingTheBytesAreKept) {
  Case plain(false);
  for (int i = 0; i < 3; ++i) plain.use();
  EXPECT_FALSE(plain.alive.expired());
}

TEST(PackedWeight, AFormatWithoutPanelsKeepsItsBytes) {
  Case plain(true, Format::kQ8_K);
  for (int i = 0; i < 3; ++i) plain.use();
  EXPECT_FALSE(plain.alive.expired());
}

// Of the pages that lie wholly in `bytes`: how many there are, and how many of them have memory. (The process's count of
// resident pages is kept per processor, and is late by megabytes where there are many.)
std::pair<uint64_t, uint64_t> whole_pages_held(const uint8_t* memory, uint64_t bytes) {
  const auto page = uint64_t(::sysconf(_SC_PAGESIZE));
  const uint64_t first = (uintptr_t(memory) + page - 1) / page * page, end = (uintptr_t(memory) + bytes) / page * page;
  std::vector<unsigned char> pages((end - first) / page);
  EXPECT_EQ(::mincore(reinterpret_cast<void*>(first), end - first, pages.data()), 0) << std::strerror(errno);
  return {pages.size(), uint64_t(std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return p & 1; }))};
}

// Blocks of a model leave RAM one by one, with others between them.
TEST(WeightArena, GivesBackWhatIsLetGoOfBetweenOthers) {
  constexpr int kWeights = 200;
  const auto bytes_of = [](int i) { return uint64_t(200'000 + 1000 * (i % 7)); };
  WeightArena arena;
  std::vector<std::shared_ptr<uint8_t>> weights;
  for (int i = 0; i < kWeights; ++i) {
    weights.push_back(arena.allocate(bytes_of(i)).value());
    EXPECT_TRUE(
        std::all_of(weights.back().get(), weights.back().get() + bytes_of(i), [](uint8_t b) { return b == 0; }));
    std::fill_n(weights.back().get(), bytes_of(i), uint8_t(1 + i));
  }
  for (int i = 1; i < kWeights; i += 2) {
    const uint8_t* bytes = weights[size_t(i)].get();
    const auto [pages, held] = whole_pages_held(bytes, bytes_of(i));
    EXPECT_EQ(held, pages);
    weights[size_t(i)].reset();
    EXPECT_EQ(whole_pages_held(bytes, bytes_of(i)).second, 0u);
  }
  for (int i = 0; i < kWeights; i += 2)
    EXPECT_TRUE(std::all_of(weights[size_t(i)].get(), weights[size_t(i)].get() + bytes_of(i),
                            [&](uint8_t b) { return b == uint8_t(1 + i); }));
}

// As src/memory/ multiplies by rows that come and go.
TEST(PackedWeight, RowsThatNobodyLoadedGiveTheSameBits) {
  for (const Format format : {Format::kQ4_0, Format::kQ6_K, Format::kIQ2_S, Format::kQ8_K})
    for (const int64_t tokens : {1, 40}) {
      Case loaded(true, format);
      Weight rows;
      rows.view = loaded.weight.view;
      Backend& backend = *loaded.backend;
      const Buffer x = upload(backend, Random(2).floats(tokens * Case::kColumns), {tokens, Case::kColumns});
      std::vector<std::vector<float>> results;
      for (const Weight* weight : {&rows, &loaded.weight}) {
        const Buffer out = blank(backend, {tokens, Case::kRows});
        const LinearTarget target{weight, nullptr, out.view, false};
        backend.linear({x.view, {&target, 1}});
        results.push_back(testing::download(backend, out));
      }
      EXPECT_TRUE(testing::same_bits(results[0], results[1])) << format_info(format).name << ", " << tokens;
    }
}

// Packed for good, many bundles are read before anything is done with their sums; before that, one at a time.
TEST(PackedWeight, ReadInOrderItGivesTheSameBits) {
  constexpr int64_t kRows = 2220, kColumns = 512;  // more bundles than are read at once, the last of them smaller
  for (const Format name : {Format::kQ4_0, Format::kQ8_0, Format::kQ5_K, Format::kQ6_K})
    for (const int64_t tokens : {1, 2, 4, 9}) {
      std::vector<uint8_t> bytes = Random(1).blocks(name, kRows * kColumns);
      std::vector<float> x = Random(2).floats(tokens * kColumns);
      for (size_t i = 0; i < x.size(); i += 97) x[i] *= 20;  // some groups get second codes
      const std::vector<float> bias = Random(3).floats(kRows);
      std::vector<std::vector<float>> results;
      for (const bool in_order : {false, true}) {
        PanelKernels kernels = *available_panel_kernels().front();
        kernels.tiles.in_order = in_order;
        WeightArena arena;
        Weight weight{TensorView::dense(bytes.data(), name, {kRows, kColumns}), nullptr, nullptr};
        auto packed =
            std::make_shared<PackedWeight>(*kernels.format(name), kernels.width, kernels.panels, weight.view, nullptr);
        packed->set_memory(arena.allocate(uint64_t(packed->bytes())).value());
        weight.packed = packed;
        for (int use = 0; use < 3; ++use) {
          EXPECT_EQ(packed->in_place(), use == 2);
          std::vector<float> out(size_t(tokens * kRows), -1.0f);
          PanelWork work;
          Scratch shared, own;
          const size_t product =
              work.add_product(kernels, TensorView::dense(x.data(), Format::kF32, {tokens, kColumns}), tokens);
          work.add_target(kernels, product,
                          {&weight, bias.data(), TensorView::dense(out.data(), Format::kF32, {tokens, kRows}), true});
          work.run(shared, own);
          results.push_back(out);
        }
      }
      for (const std::vector<float>& result : results)
        EXPECT_TRUE(testing::same_bits(result, results[0])) << format_info(name).name << ", " << tokens << " tokens";
    }
}

}  // namespace
}  // namespace metallic::cpu
