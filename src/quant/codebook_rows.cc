#include "quant/codebook_rows.h"

#include "quant/codebook.h"

namespace metallic::quant {
namespace {

// Row by row, what expand(row, codes) writes.
template <class Row, size_t kRows, class Expand>
constexpr std::array<Row, kRows> expanded(const uint16_t (&grid)[kRows], const Expand& expand) {
  std::array<Row, kRows> rows = {};
  for (size_t i = 0; i < kRows; ++i) {
    int8_t codes[sizeof(Row)] = {};
    expand(grid[i], codes);
    for (size_t byte = 0; byte < sizeof(Row); ++byte) rows[i] |= Row(uint8_t(codes[byte])) << (8 * byte);
  }
  return rows;
}

constexpr auto kExpandIQ2 = [](uint16_t row, int8_t* codes) { iq2_row(row, 0, codes); };
constexpr auto kExpandIQ3_XXS = [](uint16_t row, int8_t* codes) { iq3_xxs_row(row, 0, codes); };
constexpr auto kExpandIQ3_S = [](uint16_t row, int8_t* codes) { iq3_s_row(row, 0, codes); };
constexpr auto kExpandIQ1 = [](uint16_t row, int8_t* codes) {
  iq1_row(row, true, codes);
  for (int i = 0; i < 8; ++i) codes[i] = int8_t(codes[i] + 1);
};

}  // namespace

constinit const std::array<uint64_t, 256> kRowsIQ2_XXS = expanded<uint64_t>(kGridIQ2_XXS, kExpandIQ2);
constinit const std::array<uint64_t, 512> kRowsIQ2_XS = expanded<uint64_t>(kGridIQ2_XS, kExpandIQ2);
constinit const std::array<uint64_t, 1024> kRowsIQ2_S = expanded<uint64_t>(kGridIQ2_S, kExpandIQ2);
constinit const std::array<uint64_t, 2048> kRowsIQ1 = expanded<uint64_t>(kGridIQ1, kExpandIQ1);
constinit const std::array<uint32_t, 256> kRowsIQ3_XXS = expanded<uint32_t>(kGridIQ3_XXS, kExpandIQ3_XXS);
constinit const std::array<uint32_t, 512> kRowsIQ3_S = expanded<uint32_t>(kGridIQ3_S, kExpandIQ3_S);

}  // namespace metallic::quant
