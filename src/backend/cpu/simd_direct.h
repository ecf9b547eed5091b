// Products of unquantised weights as they lie in the file with a few tokens. Included in the unnamed namespace of each
// folder's kernels.cc.
//
// Floor: the bytes of the weights. Four rows at a time, so that dependent sums hide each other's latency; the order of
// each sum is that of dot_tile, and so are the bits.

constexpr int64_t kPiece = 256;  // columns between prefetches

// A prefetch of `bytes` from every row of the next four, into the second-level cache (simd_panel_common.h says why).
inline void prefetch_rows(const uint8_t* rows, int64_t row_stride, int64_t bytes) {
  for (int r = kTileRows; r < 2 * kTileRows; ++r)
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(rows + r * row_stride + at, 0, 2);
}

template <int kTokens, int kElementBytes, Simd::V (*kLoad)(const uint8_t*)>
void direct_tile(const uint8_t* rows, int64_t row_stride, const void* tokens, int64_t columns, float* sums,
                 int64_t sum_stride) {
  const auto* x = static_cast<const float*>(tokens);
  Simd::V sum[kTileRows][kTokens];
#pragma GCC unroll 4
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[r][t] = Simd::zero();
  for (int64_t piece = 0; piece < columns; piece += kPiece) {
    const int64_t end = columns - piece < kPiece ? columns : piece + kPiece;
    prefetch_rows(rows + piece * kElementBytes, row_stride, (end - piece) * kElementBytes);
    for (int64_t i = piece; i < end; i += Simd::kWidth, x += kTokens * Simd::kWidth) {
      Simd::V token[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) token[t] = Simd::load(x + t * Simd::kWidth);
#pragma GCC unroll 4
      for (int r = 0; r < kTileRows; ++r) {
        const Simd::V row = kLoad(rows + r * row_stride + i * kElementBytes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) sum[r][t] = Simd::fma(row, token[t], sum[r][t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
    Simd::add_four_sums(sums + t * sum_stride, sum[0][t], sum[1][t], sum[2][t], sum[3][t]);
}

inline Simd::V load_float(const uint8_t* bytes) { return Simd::load(reinterpret_cast<const float*>(bytes)); }

template <int kElementBytes, Simd::V (*kLoad)(const uint8_t*), int... kTokens>
void fill_direct(DirectTiles& tiles, std::integer_sequence<int, kTokens...>) {
  ((tiles.tile[kTokens + 1] = direct_tile<kTokens + 1, kElementBytes, kLoad>), ...);
}

template <int kElementBytes, Simd::V (*kLoad)(const uint8_t*)>
DirectTiles direct_tiles() {
  DirectTiles tiles = {};
  fill_direct<kElementBytes, kLoad>(tiles, std::make_integer_sequence<int, Simd::kDotTokens>());
  return tiles;
}
