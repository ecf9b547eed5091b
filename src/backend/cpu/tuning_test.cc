#include "backend/cpu/tuning.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "backend/cpu/cpu.h"
#include "backend/cpu/panel_linear.h"
#include "backend/test_support.h"
#include "base/processors.h"

namespace metallic::cpu {
namespace {

using testing::Random;

const PanelKernels& kernels() { return *available_panel_kernels().front(); }

class Tuning : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  void write(double tokens, double groups, double packed) {
    RateCache cache(path_);
    const std::string prefix = processor_name() + " " + kernels().name + std::string(kTilesKey);
    cache.set(prefix + "tokens", tokens);
    cache.set(prefix + "groups", groups);
    cache.set(prefix + "packed", packed);
    cache.set(prefix + "packed whole", packed);
    cache.save();
  }
  PanelTiles tiles() const {
    RateCache cache(path_);
    const PanelTiles tiles = tune(kernels(), cache);
    cache.save();
    return tiles;
  }

  const std::string path_ =
      (std::filesystem::temp_directory_path() / ("metallic-tuning-" + std::to_string(::getpid()) + ".json")).string();
};

void expect_usable(const PanelTiles& tiles) {
  EXPECT_GE(tiles.tokens, 2);
  EXPECT_LE(tiles.tokens, kernels().tiles.tokens);
  EXPECT_GE(tiles.unpack_groups, 1);
  EXPECT_LE(tiles.unpack_groups, kUnpackGroups);
  for (const int64_t packed : tiles.packed_tiles) EXPECT_GE(packed, 1);
}

TEST_F(Tuning, GivesSizesThatTheKernelsHaveAndKeepsThem) {
  const PanelTiles measured = tiles();
  expect_usable(measured);
  if (!std::filesystem::exists(path_)) GTEST_SKIP() << "too slow here to be measured in time: nothing is kept";
  EXPECT_EQ(tiles(), measured);
}

TEST_F(Tuning, TakesWhatIsKnown) {
  write(2, 7, 5);
  EXPECT_EQ(tiles(), (PanelTiles{2, 7, {5, 5}, kernels().tiles.in_order, kernels().tiles.multiples}));
}

TEST_F(Tuning, MeasuresAnewWhatCannotBe) {
  for (const double wrong : {1e300, 0.5, 2.5, 1000.0}) {
    write(2, wrong, 5);
    expect_usable(tiles());
    write(wrong, 7, 5);
    expect_usable(tiles());
    write(2, 7, wrong);
    expect_usable(tiles());
  }
}

// The product of `tokens` random tokens with a random matrix, with these tile sizes.
std::vector<float> product(Format format, int64_t tokens, const PanelTiles& tiles) {
  constexpr int64_t kRows = 70, kColumns = 1280;  // no whole number of panels; 40 groups
  PanelKernels tuned = kernels();
  tuned.tiles = tiles;
  const std::vector<uint8_t> bytes = Random(1).blocks(format, kRows * kColumns);
  std::vector<float> x = Random(2).floats(tokens * kColumns), out(size_t(tokens * kRows));
  for (size_t i = 0; i < x.size(); i += 97) x[i] *= 20;  // some groups get second codes
  Weight weight;
  weight.view = TensorView::dense(const_cast<uint8_t*>(bytes.data()), format, {kRows, kColumns});
  PanelWork work;
  Scratch shared, own;
  const size_t of = work.add_product(tuned, TensorView::dense(x.data(), Format::kF32, {tokens, kColumns}), tokens);
  work.add_target(tuned, of, {&weight, nullptr, TensorView::dense(out.data(), Format::kF32, {tokens, kRows}), false});
  work.run(shared, own);
  return out;
}

TEST(PanelTiles, NoSizeChangesABit) {
  const PanelTiles usual = kernels().tiles;
  for (const Format format : {Format::kQ4_0, Format::kQ8_0, Format::kQ4_K, Format::kQ6_K})
    for (const int64_t tokens : {1, 5, 13, 40}) {
      const std::vector<float> expected = product(format, tokens, usual);
      for (const PanelTiles& tiles :
           {PanelTiles{2, 1, {1, 1}, false, true},
            PanelTiles{usual.tokens, kUnpackGroups, {10, 10}, !usual.in_order, usual.multiples},
            PanelTiles{std::max(2, usual.tokens - 1), 7, {2, 4}, usual.in_order, !usual.multiples}})
        EXPECT_TRUE(testing::same_bits(product(format, tokens, tiles), expected))
            << format_info(format).name << ", " << tokens << " tokens, tiles of " << tiles.tokens;
    }
}

}  // namespace
}  // namespace metallic::cpu
