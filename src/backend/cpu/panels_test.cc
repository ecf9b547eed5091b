// The panel kernels of every instruction set that runs here: what they pack, unpack and multiply.
#include "backend/cpu/panels.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/cpu.h"
#include "backend/cpu/emulated_tiles.h"
#include "backend/test_support.h"
#include "base/cpu_features.h"

namespace metallic::cpu {
namespace {

using testing::Random;

// What runs here, and AMX's kernels on emulated tiles where the rest of them can run.
std::vector<const PanelKernels*> tables() {
  std::vector<const PanelKernels*> all(available_panel_kernels().begin(), available_panel_kernels().end());
#if defined(__x86_64__)
  if (cpu_features().avx512_vnni) all.push_back(&emulated_tile_panels());
#endif
  return all;
}

class Panels : public ::testing::TestWithParam<const PanelKernels*> {
 protected:
  const PanelKernels& kernels() const { return *GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, Panels, ::testing::ValuesIn(tables()),
                         [](const auto& test) { return std::string(test.param->name); });

struct Unpacked {
  std::vector<uint8_t> codes;
  std::vector<float> scales, offsets, multiples;

  Unpacked(const PanelKernels& kernels, const PanelFormat& format, int64_t groups)
      : codes(size_t(groups * kGroupColumns * kernels.width)),
        scales(size_t(groups * format.halves * kernels.width)),
        offsets(scales.size()),
        multiples(scales.size() * kScaleSteps) {}
  UnpackedPanel view() { return {codes.data(), scales.data(), offsets.data(), multiples.data()}; }
};

// What multiplies unpacked panels of a format: with their scales, and, where that is, with multiples of them.
std::vector<const UnpackedDots*> all_dots(const PanelKernels& kernels, const PanelFormat& format) {
  std::vector<const UnpackedDots*> dots = {&kernels.unpacked_dots(format, false)};
  if (kernels.has_multiples(format)) dots.push_back(&kernels.unpacked_dots(format, true));
  return dots;
}
void multiply_scales(const PanelKernels& kernels, Unpacked& panels) {
  if (kernels.multiply_scales != nullptr)
    kernels.multiply_scales(panels.scales.data(), int64_t(panels.scales.size()) / kernels.width,
                            panels.multiples.data());
}

struct Tokens {
  std::vector<int8_t> codes;
  std::vector<TokenGroup> groups;

  Tokens(const PanelKernels& kernels, const std::vector<float>& x, int count)
      : codes(x.size()), groups(x.size() / kGroupColumns) {
    const int64_t columns = int64_t(x.size()) / count;
    for (int t = 0; t < count; ++t)
      kernels.quantize(x.data() + t * columns, columns / kGroupColumns, t, count, codes.data(), groups.data());
  }
  TokenTile tile() const { return {codes.data(), groups.data()}; }
};

TEST_P(Panels, APackedPanelUnpacksToWhatTheRowsUnpackTo) {
  int packed_formats = 0;
  for (const FormatInfo& info : all_formats()) {
    const PanelFormat* format = kernels().format(info.format);
    if (format == nullptr || format->pack == nullptr) continue;
    ++packed_formats;
    SCOPED_TRACE(info.name);
    const int64_t columns = info.block_elements * 3, groups = columns / kGroupColumns;
    const int64_t stride = info.block_bytes * 3;
    for (const int rows : {kernels().width, 1}) {
      const std::vector<uint8_t> bytes = Random(3).blocks(info.format, rows * columns);
      std::vector<uint8_t> panel(size_t(format->panel_bytes(groups)), 0xcc);
      format->pack(bytes.data(), stride, rows, groups, panel.data(), format->chunk_bytes);
      Unpacked from_panel(kernels(), *format, groups), from_rows(kernels(), *format, groups);
      format->unpack({panel.data(), format->chunk_bytes}, 0, groups, from_panel.view());
      format->unpack_rows(bytes.data(), stride, rows, 0, groups, from_rows.view());
      for (int64_t g = 0; g < groups; ++g)
        for (int64_t i = 0; i < kGroupColumns * rows; ++i) {
          const int64_t row = i / kGroupColumns, column = i % kGroupColumns;
          const size_t at = size_t(((g * 8 + column / 4) * kernels().width + row) * 4 + column % 4);
          ASSERT_EQ(from_panel.codes[at], from_rows.codes[at]) << "row " << row << " group " << g << " " << column;
        }
      for (int64_t i = 0; i < int64_t(from_rows.scales.size()); ++i) {
        if (i % kernels().width >= rows) continue;
        ASSERT_EQ(from_panel.scales[size_t(i)], from_rows.scales[size_t(i)]) << i;
        if (!format->has_offset) continue;
        ASSERT_EQ(from_panel.offsets[size_t(i)], from_rows.offsets[size_t(i)]) << i;
      }
    }
  }
  EXPECT_EQ(packed_formats, kernels().few == nullptr ? 24 : 17);
}

// What a panel's code and its share of scales take, at most, for formats whose files hold less than their codes: bits.
double plain_code_bits(Format format) {
  switch (format) {
    case Format::kIQ1_S:
    case Format::kIQ1_M:
    case Format::kIQ2_XXS:
    case Format::kIQ2_XS:
    case Format::kIQ2_S:
      return 3.5625;
    case Format::kIQ3_XXS:
    case Format::kIQ3_S:
      return 4.3125;
    case Format::kTQ1_0:
      return 2.0625;
    case Format::kNVFP4:
      return 5;
    default:
      return 0;
  }
}

TEST_P(Panels, NoPanelIsMoreThanFourPercentLargerThanItsRowsOrItsPlainCodes) {
  for (const FormatInfo& info : all_formats()) {
    const PanelFormat* format = kernels().format(info.format);
    if (format == nullptr || format->pack == nullptr) continue;
    const int64_t columns = 4096, bytes = columns / info.block_elements * info.block_bytes * kernels().width;
    const double plain = plain_code_bits(info.format) / 8 * double(columns * kernels().width);
    EXPECT_LE(double(format->panel_bytes(columns / kGroupColumns)), std::max(plain, 1.04 * double(bytes))) << info.name;
  }
}

TEST_P(Panels, ATokensResultHasTheSameBitsInEveryKernelAndCompany) {
  for (const FormatInfo& info : all_formats()) {
    const PanelFormat* format = kernels().format(info.format);
    if (format == nullptr) continue;
    SCOPED_TRACE(info.name);
    const int width = kernels().width, most = kernels().tiles.tokens, most_packed = std::min(most, kMaxPackedTokens);
    const int64_t columns = info.block_elements * 2, groups = columns / kGroupColumns;
    const int64_t stride = info.block_bytes * 2;
    const std::vector<float> x = Random(6).floats(most * columns);
    const UnpackedDots& dots = kernels().unpacked_dots(*format, false);
    // As many panels as a kernel takes, side by side as a matrix has them.
    const int panels = kernels().panels;
    const int64_t packed_stride = panels * format->chunk_bytes;
    std::vector<uint8_t> packed(format->pack != nullptr ? size_t(panels * format->panel_bytes(groups)) : 0);
    std::vector<std::vector<float>> alone;  // (tokens, width) of each panel
    for (int panel = 0; panel < panels; ++panel) {
      const std::vector<uint8_t> bytes = Random(uint64_t(5 + panel)).blocks(info.format, width * columns);
      Unpacked unpacked(kernels(), *format, groups);
      format->unpack_rows(bytes.data(), stride, width, 0, groups, unpacked.view());
      multiply_scales(kernels(), unpacked);
      if (format->pack != nullptr)
        format->pack(bytes.data(), stride, width, groups, packed.data() + panel * format->chunk_bytes, packed_stride);
      alone.emplace_back(size_t(most * width));
      for (int t = 0; t < most; ++t) {
        const Tokens one(kernels(), {x.begin() + t * columns, x.begin() + (t + 1) * columns}, 1);
        dots.dot[1][1](unpacked.view(), groups, groups, one.tile(), {alone.back().data() + t * width});
      }
      for (int count = 1; count <= most; ++count) {
        const Tokens tokens(kernels(), {x.begin(), x.begin() + count * columns}, count);
        const std::vector<float> expected(alone.back().begin(), alone.back().begin() + count * width);
        std::vector<float> sums(expected.size());
        for (const UnpackedDots* dots_of : all_dots(kernels(), *format)) {
          std::fill(sums.begin(), sums.end(), 0.0f);
          dots_of->dot[1][count](unpacked.view(), groups, groups, tokens.tile(), {sums.data()});
          EXPECT_TRUE(testing::same_bits(sums, expected)) << count << " tokens, unpacked";
        }
        if (format->pack == nullptr || count > most_packed) continue;
        const PackedPanels one{packed.data() + panel * format->chunk_bytes, packed_stride};
        for (const auto& dot : {format->dot, format->dot_in_order}) {
          if (dot[1][count] == nullptr) continue;
          std::fill(sums.begin(), sums.end(), -1.0f);
          dot[1][count](one, groups, tokens.tile(), {sums.data(), width});
          EXPECT_TRUE(testing::same_bits(sums, expected)) << count << " tokens, packed";
        }
      }
    }
    if (format->pack == nullptr || panels == 1) continue;
    for (int count = 1; count <= most_packed; ++count) {
      const Tokens tokens(kernels(), {x.begin(), x.begin() + count * columns}, count);
      std::vector<float> sums(size_t(count * panels * width)), expected;
      for (int t = 0; t < count; ++t)
        for (const std::vector<float>& of_panel : alone)
          expected.insert(expected.end(), of_panel.begin() + t * width, of_panel.begin() + (t + 1) * width);
      for (const auto& dot : {format->dot, format->dot_in_order}) {
        if (dot[panels][count] == nullptr) continue;
        std::fill(sums.begin(), sums.end(), -1.0f);
        dot[panels][count]({packed.data(), packed_stride}, groups, tokens.tile(), {sums.data(), panels * width});
        EXPECT_TRUE(testing::same_bits(sums, expected)) << count << " tokens, " << panels << " packed panels";
      }
    }
  }
}

// Groups of two panels at once, added to the rows of sums that the tokens name.
TEST_P(Panels, ProductsOfTwoPanelsAreThoseOfEachAndOfTheirGroups) {
  if (kernels().panels == 1) GTEST_SKIP() << kernels().name << " multiplies one panel at a time";
  constexpr int64_t kMostGroups = 5;
  const int width = kernels().width, most = kernels().tiles.tokens;
  std::vector<int32_t> rows_of_sums;
  for (int t = 0; t < most; ++t) rows_of_sums.push_back(2 * (most - 1 - t));
  for (const Format name : {Format::kQ8_0, Format::kQ5_1, Format::kIQ4_NL, Format::kNVFP4}) {
    if (kernels().format(name) == nullptr) continue;
    const PanelFormat& format = *kernels().format(name);
    const int64_t row_bytes = int64_t(*format_bytes(name, 64 * kMostGroups));
    const std::vector<uint8_t> rows = Random(22).blocks(name, 2 * width * 64 * kMostGroups);
    for (int64_t groups = 1; groups <= kMostGroups; ++groups)
      for (int count = 1; count <= most; ++count) {
        const Tokens tokens(kernels(), Random(21).floats(count * groups * kGroupColumns), count);
        Unpacked both(kernels(), format, 2 * kMostGroups);
        const std::vector<float> before = Random(23).floats(2 * most * 2 * width);
        std::vector<float> sums = before, expected = before;
        const UnpackedDots& dots = kernels().unpacked_dots(format, false);
        for (int p = 0; p < 2; ++p) {
          const UnpackedPanel panel = both.view().further(p * kMostGroups, format.halves, width);
          format.unpack_rows(rows.data() + p * width * row_bytes, row_bytes, width, 0, kMostGroups, panel);
          for (int t = 0; t < count; ++t)
            for (int64_t g = 0; g < groups; ++g) {
              const int64_t at = g * count + t;
              dots.dot[1][1](panel.further(g, format.halves, width), kMostGroups, 1,
                             {tokens.codes.data() + at * kGroupColumns, tokens.groups.data() + at},
                             {&expected[size_t((2 * rows_of_sums[size_t(t)] + p) * width)]});
            }
        }
        multiply_scales(kernels(), both);
        const TokenTile tile{tokens.codes.data(), tokens.groups.data(), rows_of_sums.data()};
        for (const UnpackedDots* dots_of : all_dots(kernels(), format)) {
          sums = before;
          dots_of->dot[2][count](both.view(), kMostGroups, groups, tile, {sums.data()});
          ASSERT_TRUE(testing::same_bits(sums, expected))
              << format_info(name).name << ", " << groups << " groups, " << count << " tokens";
        }

        // Complete, they go on with second ones and bias to what is there.
        const int64_t both_rows = 2 * width, stride = both_rows + 3;
        const std::vector<float> seconds = Random(24).floats(count * both_rows), bias = Random(25).floats(both_rows);
        std::vector<float> out = Random(26).floats(count * stride), expected_out = out;
        for (int t = 0; t < count; ++t)
          for (int64_t r = 0; r < both_rows; ++r) {
            float value =
                expected[size_t(rows_of_sums[size_t(t)] * both_rows + r)] + seconds[size_t(t * both_rows + r)];
            value = value + bias[size_t(r)];
            expected_out[size_t(t * stride + r)] += value;
          }
        const std::vector<float> out_before = out;
        sums = before;
        const PanelOutput to{out.data(), stride, bias.data(), true};
        for (const UnpackedDots* dots_of : all_dots(kernels(), format)) {
          out = out_before;
          dots_of->dot[2][count](both.view(), kMostGroups, groups, tile, {sums.data(), false, &to, seconds.data()});
          ASSERT_TRUE(testing::same_bits(out, expected_out))
              << format_info(name).name << ", " << groups << " groups, " << count << " tokens, to the output";
        }
        EXPECT_TRUE(testing::same_bits(sums, before));
      }
  }
}

TEST_P(Panels, ProductsOfListedTokensAreThoseOfEach) {
  constexpr int64_t kGroups = 6, kFirst = 2, kPlaces = 17;  // groups of which the panels hold the last four
  const int width = kernels().width, panels = kernels().panels;
  const std::vector<int32_t> groups = {2, 3, 5}, counts = {0, 0, 17, 1, 0, 8};
  std::vector<int32_t> rows;
  for (int i = 0; i < kGroups * kPlaces; ++i) rows.push_back((i * 5 + 3) % int(kPlaces));  // different ones in a group
  for (const Format name : {Format::kQ8_0, Format::kQ5_1, Format::kQ6_K, Format::kQ2_K}) {
    if (kernels().format(name) == nullptr) continue;
    SCOPED_TRACE(format_info(name).name);
    const PanelFormat& format = *kernels().format(name);
    const auto row_bytes = int64_t(*format_bytes(name, 256));
    const std::vector<uint8_t> bytes = Random(41).blocks(name, panels * width * 256);
    constexpr int64_t kHeld = kGroups - kFirst;
    Unpacked held(kernels(), format, panels * kHeld);
    for (int p = 0; p < panels; ++p) {
      format.unpack_rows(bytes.data() + p * width * row_bytes, row_bytes, width, kFirst, kHeld,
                         held.view().further(p * kHeld, format.halves, width));
    }
    multiply_scales(kernels(), held);
    const Tokens tokens(kernels(), Random(42).floats(kGroups * kPlaces * kGroupColumns), 1);
    const std::vector<float> before = Random(43).floats(kPlaces * panels * width);
    std::vector<float> expected = before;
    for (const int32_t group : groups)
      for (int32_t i = 0; i < counts[size_t(group)]; ++i) {
        const int64_t at = group * kPlaces + i;
        kernels()
            .unpacked_dots(format, false)
            .dot[panels][1](held.view().further(group - kFirst, format.halves, width), kHeld, 1,
                            {tokens.codes.data() + at * kGroupColumns, tokens.groups.data() + at, rows.data() + at},
                            {expected.data()});
      }
    const ListedTokens list{groups, counts.data(), kPlaces, tokens.codes.data(), tokens.groups.data(), rows.data()};
    for (const UnpackedDots* dots : all_dots(kernels(), format)) {
      std::vector<float> sums = before;
      dots->listed[panels](held.view(), kHeld, kFirst, list, sums.data());
      EXPECT_TRUE(testing::same_bits(sums, expected));
    }
  }
}

// The first 16 rows of a matrix times `count` tokens: (tokens, 16).
std::vector<float> product(const PanelKernels& kernels, const PanelFormat& format, const std::vector<uint8_t>& rows,
                           int64_t stride, const std::vector<float>& x, int count) {
  constexpr int kRows = 16;
  const int width = kernels.width;
  const int64_t groups = int64_t(x.size()) / count / kGroupColumns;
  const Tokens tokens(kernels, x, count);
  std::vector<float> out(size_t(count) * kRows), sums(size_t(count) * size_t(width));
  for (int row = 0; row < kRows; row += width) {
    Unpacked panel(kernels, format, groups);
    format.unpack_rows(rows.data() + row * stride, stride, width, 0, groups, panel.view());
    std::fill(sums.begin(), sums.end(), -1.0f);
    kernels.unpacked_dots(format, false)
        .dot[1][count](panel.view(), groups, groups, tokens.tile(), {sums.data(), true});
    for (int t = 0; t < count; ++t) std::copy_n(&sums[size_t(t * width)], width, &out[size_t(t * kRows + row)]);
  }
  return out;
}

// The scalar ones round their products and sums apart.
TEST(PanelKernels, AllThatMultiplyAndAddAtOnceGiveTheSameBits) {
  const PanelKernels& best = *available_panel_kernels().front();
  for (const PanelKernels* kernels : tables())
    for (const FormatInfo& info : all_formats()) {
      const PanelFormat* format = kernels->format(info.format);
      if (format == nullptr || std::string_view(kernels->name) == "scalar") continue;
      const int count = std::min(kernels->tiles.tokens, best.tiles.tokens);
      const std::vector<uint8_t> rows = Random(11).blocks(info.format, 16 * 2 * info.block_elements);
      const std::vector<float> x = Random(12).floats(count * 2 * info.block_elements);
      EXPECT_TRUE(testing::same_bits(product(*kernels, *format, rows, 2 * info.block_bytes, x, count),
                                     product(best, *best.format(info.format), rows, 2 * info.block_bytes, x, count)))
          << kernels->name << " and " << best.name << ", " << info.name;
    }
}

#if defined(__x86_64__)
std::vector<float> linear(const PanelKernels& kernels, Format format, int64_t tokens, Precision precision) {
  constexpr int64_t kRows = 83, kColumns = 1024;
  CpuBackend backend({.threads = 2}, *find_kernels("avx512").value(), kernels);
  const Weight weight =
      testing::load_weight(backend, format, Random(31).blocks(format, kRows * kColumns), kRows, kColumns);
  std::vector<float> x = Random(32).floats(tokens * kColumns), out(size_t(tokens * kRows));
  const TensorView view = TensorView::dense(out.data(), Format::kF32, {tokens, kRows});
  const LinearTarget target{&weight, nullptr, view, false, precision};
  backend.linear({.x = TensorView::dense(x.data(), Format::kF32, {tokens, kColumns}), .targets = {&target, 1}});
  return out;
}

// The tile's edges, and the forms of tokens: pairs of codes, and second codes in tiles of their own.
TEST(TilePanels, GiveModelsTheBitsOfTheOtherKernels) {
  if (!cpu_features().avx512_vnni) GTEST_SKIP() << "the emulated tiles need AVX-512 VNNI";
  const int64_t before = emulated_releases();
  for (const Format format : {Format::kQ4_0, Format::kQ8_0, Format::kQ4_K, Format::kQ6_K, Format::kIQ4_NL})
    for (const Precision precision : {Precision::kCodes, Precision::kDoubleCodes})
      for (const int64_t tokens : {1, 7, 31, 32, 36, 37, 61})
        EXPECT_TRUE(testing::same_bits(linear(emulated_tile_panels(), format, tokens, precision),
                                       linear(avx512vnni_panels(), format, tokens, precision)))
            << format_info(format).name << ", " << tokens << " tokens";
  EXPECT_GT(emulated_releases(), before);
  EXPECT_FALSE(emulated_tiles_in_use()) << "a thread whose tiles are in use has more to save when it is interrupted";
}

TEST(TilePanels, CanBeAskedForWhereTheProcessorAndTheSystemLetThemAndAreNeverTheBest) {
  EXPECT_EQ(named_panel_kernels("amxint8") != nullptr, cpu_features().amx_int8 && request_tiles());
  EXPECT_STRNE(available_panel_kernels().front()->name, "amxint8");
  EXPECT_EQ(&find_panel_kernels(""), available_panel_kernels().front());
}

// So that what a faster table gains can be measured, and a fault be narrowed down.
TEST(PanelKernels, CanBeChosenByTheirNames) {
  for (const PanelKernels* kernels : available_panel_kernels()) {
    const Result<const Kernels*> floats = find_kernels(kernels->name);
    ASSERT_TRUE(floats.has_value()) << kernels->name;
    EXPECT_STREQ((*floats)->name, kernels->floats);
    EXPECT_TRUE(make_cpu_backend({.threads = 1, .isa = kernels->name}).has_value());
  }
}
#endif

#if defined(__aarch64__)
// The suite aarch64 runs this on processors with neither, one and both of the two.
TEST(PanelKernels, AreTheBestThatThisProcessorHas) {
  const CpuFeatures& features = cpu_features();
  const std::string_view best = available_panel_kernels().front()->name;
  EXPECT_EQ(best, features.dot && features.i8mm ? "neoni8mm" : features.dot ? "neondot" : "neon");
}
#endif

TEST_P(Panels, QuantizedTokensAreWithinHalfAStep) {
  std::vector<float> x = Random(9).floats(4 * kGroupColumns, -3.0f, 5.0f);
  std::fill(x.begin() + kGroupColumns, x.begin() + 2 * kGroupColumns, 0.0f);
  x[2 * kGroupColumns] = 1e30f;
  const Tokens tokens(kernels(), x, 1);
  for (size_t g = 0; g < 4; ++g) {
    int sum = 0, first = 0;
    for (size_t i = 0; i < size_t(kGroupColumns); ++i) {
      const int code = tokens.codes[g * kGroupColumns + i];
      sum += code;
      first += i < 16 ? code : 0;
      EXPECT_LE(std::abs(x[g * kGroupColumns + i] - tokens.groups[g].scale * float(code)),
                0.50001f * tokens.groups[g].scale)
          << g << ' ' << i;
    }
    EXPECT_EQ(tokens.groups[g].minus_sum, -kLargestBias * sum);
    EXPECT_EQ(tokens.groups[g].minus_first, -kLargestBias * first);
  }
}

// Groups alone, of a few at once and of what is left, with all that their largest magnitude can be.
TEST_P(Panels, QuantizedTokensAreThoseOfTheScalarKernels) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr int kCount = 3;
  for (int64_t groups = 1; groups <= 9; ++groups)
    for (const float odd : {0.0f, -0.0f, 1e-40f, 9e-31f, -3e38f, kInfinity, -kInfinity, kNan, -kNan})
      for (int64_t at = 0; at < groups; ++at) {
        const int64_t columns = groups * kGroupColumns;
        std::vector<float> x = Random(uint64_t(groups)).floats(kCount * columns);
        if (std::abs(odd) < 1e-20f) std::fill_n(x.begin() + columns + at * kGroupColumns, kGroupColumns, odd);
        x[size_t(columns + at * kGroupColumns + (7 * at + 3) % kGroupColumns)] = odd;
        const Tokens tokens(kernels(), x, kCount), expected(scalar_panels(), x, kCount);
        for (size_t i = 0; i < tokens.groups.size(); ++i) {
          const TokenGroup &group = tokens.groups[i], &wanted = expected.groups[i];
          ASSERT_EQ(std::isnan(group.scale), std::isnan(wanted.scale)) << odd << " in " << at << " of " << groups;
          if (std::isnan(wanted.scale)) {
            EXPECT_EQ(i, size_t(at * kCount + 1));
            EXPECT_TRUE(std::isnan(group.scaled_sum));
            continue;
          }
          ASSERT_EQ(std::memcmp(&group, &wanted, sizeof(group)), 0) << odd << " in " << at << " of " << groups;
          ASSERT_EQ(std::memcmp(&tokens.codes[i * kGroupColumns], &expected.codes[i * kGroupColumns], kGroupColumns),
                    0);
        }
      }
}

// What limits.cc measures is the work that these say they did.
TEST_P(Panels, ThePeakCountsTheOperationsOfEachRound) {
  const int64_t once = kernels().peak(1);
  EXPECT_EQ(once % (8 * kernels().width), 0);
  EXPECT_GT(once, 0);
  EXPECT_EQ(kernels().peak(100), 100 * once);
}

TEST_P(Panels, ReadingTouchesEveryByte) {
  constexpr int64_t kBytes = 4096;
  std::vector<uint8_t> bytes(kBytes, 0);
  const uint8_t none = kernels().read(bytes.data(), kBytes);
  EXPECT_EQ(none, 0);
  int64_t seen = 0;
  for (int64_t at = 0; at < kBytes; ++at) {
    bytes[size_t(at)] = 0xff;
    seen += kernels().read(bytes.data(), kBytes) != 0;
    bytes[size_t(at)] = 0;
  }
  EXPECT_EQ(seen, kBytes);
}

}  // namespace
}  // namespace metallic::cpu
