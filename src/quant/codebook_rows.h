// The grids of codebook_tables.h as the codes they stand for, a byte each, made for loads of whole rows: 41 KB in all,
// at most 16 KB for one format. Signs, and the shift of IQ1, are applied by the reader.
#pragma once

#include <array>
#include <cstdint>

namespace metallic::quant {

extern const std::array<uint64_t, 256> kRowsIQ2_XXS;  // rows of 8
extern const std::array<uint64_t, 512> kRowsIQ2_XS;
extern const std::array<uint64_t, 1024> kRowsIQ2_S;
extern const std::array<uint64_t, 2048> kRowsIQ1;     // 8 x: -8, 0, 8
extern const std::array<uint32_t, 256> kRowsIQ3_XXS;  // rows of 4
extern const std::array<uint32_t, 512> kRowsIQ3_S;

}  // namespace metallic::quant
