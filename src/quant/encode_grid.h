// Encoders of the IQ1, IQ2 and IQ3 formats: each 8 or 4 weights are a row of a codebook, with signs (IQ2, IQ3) or a
// shift (IQ1). A row is chosen by rounding every weight to a level and weighing the errors of the rows near that point.
#pragma once

#include "quant/formats.h"
#include "quant/grid_neighbours.h"
#include "quant/scale_search.h"

namespace metallic::quant::inline METALLIC_ISA {

// The level of a weight, already divided by the scale.
template <Grid kGrid>
int level_of(float code) {
  if constexpr (kGrid == Grid::kIQ1)
    return int(code > -0.5f) + int(code > 0.5f);
  else if constexpr (kGrid == Grid::kIQ3_XXS)
    return int(std::min(std::max(code * 0.125f, 0.0f), 7.0f));
  else if constexpr (kGrid == Grid::kIQ3_S)
    return int(std::min(std::max(code * 0.5f, 0.0f), 7.0f));
  else
    return int(code > 16.5f) + int(code > 34.0f);
}

// The row with the least sum of w (a - scale row)^2, and that sum.
template <Grid kGrid, int kRow>
int nearest_row(const GridNeighbours& grid, const float* a, const float* w, float scale, float& error) {
  constexpr int kLevels = kRow == 8 ? 3 : 8;
  const float inverse = scale == 0 ? 0 : 1 / scale;
  int point = 0;
  for (int i = kRow - 1; i >= 0; --i) point = point * kLevels + level_of<kGrid>(a[i] * inverse);
  const uint16_t* const candidates = grid.nearest.data() + point * GridNeighbours::kCount;
  int best = candidates[0];
  error = std::numeric_limits<float>::infinity();
  for (int k = 0; k < GridNeighbours::kCount; ++k) {
    const float* const row = grid.values.data() + int(candidates[k]) * kRow;
    float squares[kRow];
    for (int i = 0; i < kRow; ++i) {
      const float difference = a[i] - scale * row[i];
      squares[i] = w[i] * difference * difference;
    }
    for (int width = kRow / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) squares[i] += squares[i + width];
    if (squares[0] < error) {
      error = squares[0];
      best = candidates[k];
    }
  }
  return best;
}

// A group of an IQ2 or IQ3 format. With kEvenSigns the number of minus signs in each 8 weights must be even: where it
// is not, the weight that costs least is taken with the wrong sign.
template <Grid kGrid, int kRow, int kSize, bool kEvenSigns>
struct SignedGridCodes {
  static constexpr int kGroup = kSize, kGroups = 256 / kSize;
  static constexpr bool kSignedScale = false;
  static constexpr int kStepMin = 0, kStepMax = 15;
  static constexpr float kShift = 0.5f;

  struct Choice {
    int rows[kSize / kRow];
    uint8_t signs[kSize / 8];  // a set bit is a minus
  };

  static Choice choose(const float* x, const float* w, float scale, float* v) {
    static const GridNeighbours& grid = grid_neighbours(kGrid);
    Choice choice;
    for (int first = 0; first < kSize; first += 8) {
      float magnitudes[8];
      int signs = 0, cheapest = 0;
      for (int i = 0; i < 8; ++i) {
        magnitudes[i] = std::fabs(x[first + i]);
        signs |= int(x[first + i] < 0) << i;
        if (w[first + i] * magnitudes[i] < w[first + cheapest] * magnitudes[cheapest]) cheapest = i;
      }
      if (kEvenSigns && __builtin_popcount(unsigned(signs)) % 2 != 0) {
        signs ^= 1 << cheapest;
        magnitudes[cheapest] = -magnitudes[cheapest];
      }
      choice.signs[first / 8] = uint8_t(signs);
      for (int part = 0; part < 8; part += kRow) {
        float error;
        const int row = nearest_row<kGrid, kRow>(grid, magnitudes + part, w + first + part, scale, error);
        choice.rows[(first + part) / kRow] = row;
        for (int i = part; i < part + kRow; ++i) {
          const float value = grid.values[size_t(row * kRow + i - part)];
          v[first + i] = signs >> i & 1 ? -value : value;
        }
      }
    }
    return choice;
  }

  static void nearest(const float* x, const float* w, float scale, float* v) { choose(x, w, scale, v); }
};

// pack(group, step, choice) for every group, once the scales are found.
template <class Coder, class Block, class Pack>
void encode_groups(const SearchInput<256>& input, Block& block, Half& scale, Pack pack) {
  (void)block;
  const Scales<Coder> scales = search_scales<Coder>(input.x, input.w, input.unit);
  scale = Half::of(scales.scale * input.unit);
  for (int group = 0; group < Coder::kGroups; ++group) {
    float v[Coder::kGroup];
    const float* const x = input.x + group * Coder::kGroup;
    pack(group, scales.steps[group], Coder::choose(x, input.w + group * Coder::kGroup, scales.of(group), v));
  }
}

struct CoderIQ2_XXS : SignedGridCodes<Grid::kIQ2_XXS, 8, 32, true> {
  static constexpr float kFactor = 0.25f;
  static constexpr auto kDivisors = spaced<14>(30.0f, 64.0f);
};

inline void encode(const SearchInput<256>& input, IQ2_XXS::Block& block) {
  encode_groups<CoderIQ2_XXS>(input, block, block.scale, [&](int group, int step, const auto& choice) {
    uint32_t word = uint32_t(step) << 28;
    for (int i = 0; i < 4; ++i) {
      block.groups[group].rows[i] = uint8_t(choice.rows[i]);
      word |= uint32_t(choice.signs[i] & 127) << (7 * i);
    }
    block.groups[group].signs_and_scale = Unaligned<uint32_t>::of(word);
  });
}

struct CoderIQ2_XS : SignedGridCodes<Grid::kIQ2_XS, 8, 16, true> {
  static constexpr float kFactor = 0.25f;
  static constexpr auto kDivisors = spaced<14>(30.0f, 64.0f);
};

inline void encode(const SearchInput<256>& input, IQ2_XS::Block& block) {
  encode_groups<CoderIQ2_XS>(input, block, block.scale, [&](int group, int step, const auto& choice) {
    for (int i = 0; i < 2; ++i)
      block.rows_and_signs[2 * group + i] =
          Unaligned<uint16_t>::of(uint16_t(choice.rows[i] | (choice.signs[i] & 127) << 9));
    block.scales[group / 2] |= uint8_t(step << (group % 2 * 4));
  });
}

struct CoderIQ2_S : SignedGridCodes<Grid::kIQ2_S, 8, 16, false> {
  static constexpr float kFactor = 0.25f;
  static constexpr auto kDivisors = spaced<14>(30.0f, 64.0f);
};

inline void encode(const SearchInput<256>& input, IQ2_S::Block& block) {
  encode_groups<CoderIQ2_S>(input, block, block.scale, [&](int group, int step, const auto& choice) {
    for (int i = 0; i < 2; ++i) {
      const int k = 2 * group + i;
      block.rows[k] = uint8_t(choice.rows[i]);
      block.high_bits[k / 4] |= uint8_t(choice.rows[i] >> 8 << (k % 4 * 2));
      block.signs[k] = choice.signs[i];
    }
    block.scales[group / 2] |= uint8_t(step << (group % 2 * 4));
  });
}

struct CoderIQ3_XXS : SignedGridCodes<Grid::kIQ3_XXS, 4, 32, true> {
  static constexpr float kFactor = 0.5f;
  static constexpr auto kDivisors = spaced<14>(46.0f, 78.0f);
};

inline void encode(const SearchInput<256>& input, IQ3_XXS::Block& block) {
  encode_groups<CoderIQ3_XXS>(input, block, block.scale, [&](int group, int step, const auto& choice) {
    uint32_t word = uint32_t(step) << 28;
    for (int i = 0; i < 8; ++i) block.rows[8 * group + i] = uint8_t(choice.rows[i]);
    for (int i = 0; i < 4; ++i) word |= uint32_t(choice.signs[i] & 127) << (7 * i);
    block.signs_and_scale[group] = Unaligned<uint32_t>::of(word);
  });
}

struct CoderIQ3_S : SignedGridCodes<Grid::kIQ3_S, 4, 32, false> {
  static constexpr float kFactor = 2;
  static constexpr auto kDivisors = spaced<14>(11.0f, 19.0f);
};

inline void encode(const SearchInput<256>& input, IQ3_S::Block& block) {
  encode_groups<CoderIQ3_S>(input, block, block.scale, [&](int group, int step, const auto& choice) {
    for (int i = 0; i < 8; ++i) {
      block.rows[8 * group + i] = uint8_t(choice.rows[i]);
      block.high_bits[group] |= uint8_t(choice.rows[i] >> 8 << i);
    }
    for (int i = 0; i < 4; ++i) block.signs[4 * group + i] = choice.signs[i];
    block.scales[group / 2] |= uint8_t(step << (group % 2 * 4));
  });
}

// A group of an IQ1 format: codes 8 x + 1 or 8 x - 1, x of -1, 0, 1; one sign for each kShared weights.
template <int kSize, int kShared>
struct ShiftedGridCodes {
  static constexpr int kGroup = kSize, kGroups = 256 / kSize;
  static constexpr bool kSignedScale = false;
  static constexpr int kStepMin = 0, kStepMax = 7;
  static constexpr float kFactor = 0.25f, kShift = 0.5f;
  static constexpr auto kDivisors = spaced<16>(8.0f, 23.0f);

  struct Choice {
    int rows[kSize / 8];
    bool down[kSize / kShared];
  };

  static Choice choose(const float* x, const float* w, float scale, float* v) {
    static const GridNeighbours& grid = grid_neighbours(Grid::kIQ1);
    Choice choice;
    for (int first = 0; first < kSize; first += kShared) {
      float least = std::numeric_limits<float>::infinity();
      for (const bool down : {false, true}) {
        int rows[kShared / 8];
        float total = 0;
        for (int k = 0; k < kShared / 8; ++k) {
          float shifted[8], error;
          for (int i = 0; i < 8; ++i) shifted[i] = x[first + 8 * k + i] + (down ? scale : -scale);
          rows[k] = nearest_row<Grid::kIQ1, 8>(grid, shifted, w + first + 8 * k, 8 * scale, error);
          total += error;
        }
        if (!(total < least)) continue;
        least = total;
        choice.down[first / kShared] = down;
        for (int k = 0; k < kShared / 8; ++k) choice.rows[first / 8 + k] = rows[k];
      }
      for (int i = first; i < first + kShared; ++i)
        v[i] = 8 * grid.values[size_t(choice.rows[i / 8] * 8 + i % 8)] + (choice.down[first / kShared] ? -1.0f : 1.0f);
    }
    return choice;
  }

  static void nearest(const float* x, const float* w, float scale, float* v) { choose(x, w, scale, v); }
};

inline void encode(const SearchInput<256>& input, IQ1_S::Block& block) {
  encode_groups<ShiftedGridCodes<32, 32>>(input, block, block.scale, [&](int group, int step, const auto& choice) {
    int word = step << 12 | int(choice.down[0]) << 15;
    for (int i = 0; i < 4; ++i) {
      block.rows[4 * group + i] = uint8_t(choice.rows[i]);
      word |= choice.rows[i] >> 8 << (3 * i);
    }
    block.groups[group] = Unaligned<uint16_t>::of(uint16_t(word));
  });
}

inline void encode(const SearchInput<256>& input, IQ1_M::Block& block) {
  Half scale;
  uint16_t words[4] = {};
  encode_groups<ShiftedGridCodes<16, 8>>(input, block, scale, [&](int group, int step, const auto& choice) {
    for (int i = 0; i < 2; ++i) {
      block.rows[2 * group + i] = uint8_t(choice.rows[i]);
      block.high_bits[group] |= uint8_t((choice.rows[i] >> 8 | int(choice.down[i]) << 3) << (4 * i));
    }
    words[group / 4] = uint16_t(words[group / 4] | step << (group % 4 * 3));
  });
  for (int i = 0; i < 4; ++i)
    block.scales[i] = Unaligned<uint16_t>::of(uint16_t(words[i] | (scale.bits >> (4 * i) & 15) << 12));
}

}  // namespace metallic::quant::inline METALLIC_ISA
