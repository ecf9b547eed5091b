// The codes of a group of 32 columns as their planes hold them (Packed::stored), eight to a word, the first in the
// lowest byte. Included in the unnamed namespace of each folder's panels.cc, after simd_panel_dots.h.
//
// The codebook formats' rows of values are loaded whole (quant/codebook_rows.h): a few shifts make entries of eight
// values at once, to which their signs are added.

constexpr int kGroupWords = 4;

// The top bit of byte i is bit i of `signs`, for each i; all else is 0.
inline uint64_t sign_bytes(uint32_t signs) {
  constexpr uint64_t kTops = 0x8080808080808080;
  const uint64_t own = (signs & 0xff) * uint64_t{0x0101010101010101} & 0x8040201008040201;  // bit i of byte i
  return (((own & ~kTops) + ~kTops) | own) & kTops;
}

// 8, 25, 43 -> 0, 1, 2
inline uint64_t iq2_entries(uint64_t row, uint32_t signs) {
  return (row >> 4 & 0x0303030303030303) | sign_bytes(signs) >> 5;
}
// 4, 12, ... 52, 62 -> 0 to 7
inline uint64_t iq3_xxs_entries(uint64_t row, uint32_t signs) {
  return (row >> 3 & 0x0707070707070707) | sign_bytes(signs) >> 4;
}
// 1, 3, ... 15 -> 0 to 7
inline uint64_t iq3_s_entries(uint64_t row, uint32_t signs) {
  return (row >> 1 & 0x0707070707070707) | sign_bytes(signs) >> 4;
}
// -8, 0, 8 -> 3, 0, 1
inline uint64_t iq1_entries(uint64_t row, bool down) {
  return (row >> 3 & 0x0303030303030303) | (down ? uint64_t{0x0404040404040404} : 0);
}
inline uint64_t two_rows(uint32_t first, uint32_t second) { return first | uint64_t{second} << 32; }

template <class Pack, class Block>
inline void stored_words(const Block& block, int group, uint64_t* words) {
  using F = typename Pack::F;
  constexpr int kParts = kGroupColumns / F::kGroup;
  alignas(32) int8_t decoded[kGroupColumns];
  alignas(32) uint8_t codes[kGroupColumns];
  float scale, offset;  // go their own way
  for (int part = 0; part < kParts; ++part)
    F::decode(block, group * kParts + part, decoded + part * F::kGroup, scale, offset);
  for (int i = 0; i < kGroupColumns; ++i) codes[i] = Pack::stored(decoded[i]);
  __builtin_memcpy(words, codes, sizeof(codes));
}
template <>
inline void stored_words<PackedIQ2_XXS>(const quant::IQ2_XXS::Block& block, int group, uint64_t* words) {
  const auto& stored = block.groups[group];
  const uint32_t signs = stored.signs_and_scale;
  for (int i = 0; i < kGroupWords; ++i)
    words[i] = iq2_entries(quant::kRowsIQ2_XXS[stored.rows[i]], uint32_t(quant::even_signs(signs >> (7 * i) & 127)));
}
template <>
inline void stored_words<PackedIQ2_XS>(const quant::IQ2_XS::Block& block, int group, uint64_t* words) {
  for (int i = 0; i < kGroupWords; ++i) {
    const uint32_t word = block.rows_and_signs[kGroupWords * group + i];
    words[i] = iq2_entries(quant::kRowsIQ2_XS[word & 511], uint32_t(quant::even_signs(word >> 9)));
  }
}
template <>
inline void stored_words<PackedIQ2_S>(const quant::IQ2_S::Block& block, int group, uint64_t* words) {
  const uint32_t high = block.high_bits[group];
  for (int i = 0; i < kGroupWords; ++i) {
    const int k = kGroupWords * group + i;
    words[i] = iq2_entries(quant::kRowsIQ2_S[block.rows[k] | (high >> (2 * i) & 3) << 8], block.signs[k]);
  }
}
template <>
inline void stored_words<PackedIQ3_XXS>(const quant::IQ3_XXS::Block& block, int group, uint64_t* words) {
  const uint8_t* rows = block.rows + 2 * kGroupWords * group;
  const uint32_t signs = block.signs_and_scale[group];
  for (int i = 0; i < kGroupWords; ++i)
    words[i] = iq3_xxs_entries(two_rows(quant::kRowsIQ3_XXS[rows[2 * i]], quant::kRowsIQ3_XXS[rows[2 * i + 1]]),
                               uint32_t(quant::even_signs(signs >> (7 * i) & 127)));
}
template <>
inline void stored_words<PackedIQ3_S>(const quant::IQ3_S::Block& block, int group, uint64_t* words) {
  const uint8_t* rows = block.rows + 2 * kGroupWords * group;
  const uint32_t high = block.high_bits[group];
  for (int i = 0; i < kGroupWords; ++i) {
    const auto row = [&](int k) { return quant::kRowsIQ3_S[rows[k] | (high >> k & 1) << 8]; };
    words[i] = iq3_s_entries(two_rows(row(2 * i), row(2 * i + 1)), block.signs[kGroupWords * group + i]);
  }
}
template <>
inline void stored_words<PackedIQ1_S>(const quant::IQ1_S::Block& block, int group, uint64_t* words) {
  const uint32_t high = block.groups[group];
  for (int i = 0; i < kGroupWords; ++i) {
    const uint32_t row = block.rows[kGroupWords * group + i] | (high >> (3 * i) & 7) << 8;
    words[i] = iq1_entries(quant::kRowsIQ1[row], (high & 0x8000) != 0);
  }
}
template <>
inline void stored_words<PackedIQ1_M>(const quant::IQ1_M::Block& block, int group, uint64_t* words) {
  for (int i = 0; i < kGroupWords; ++i) {
    const int k = kGroupWords * group + i, high = quant::nibble(block.high_bits, k);
    words[i] = iq1_entries(quant::kRowsIQ1[block.rows[k] | uint32_t(high & 7) << 8], (high & 8) != 0);
  }
}
