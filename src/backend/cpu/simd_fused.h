// The product of unquantised weights as they lie in the file with one token. Included in the unnamed namespace of each
// folder's kernels.cc.
//
// Floor: the bytes of the weights. Four rows at a time, so that the four dependent sums hide each other's latency; the
// order of each sum is that of dot_tile, and so are the bits.

constexpr int64_t kPiece = 256;  // columns between prefetches

// A prefetch of `bytes` from every row of the next four.
inline void prefetch_rows(const uint8_t* rows, int64_t row_stride, int64_t bytes) {
  for (int r = kTileRows; r < 2 * kTileRows; ++r)
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(rows + r * row_stride + at);
}

template <int kElementBytes, Simd::V (*kLoad)(const uint8_t*)>
void fused_dot(const uint8_t* rows, int64_t row_stride, const float* token, int64_t columns, float* sums) {
  for (int64_t chunk = 0; chunk < columns; chunk += kSumChunk) {
    const int64_t chunk_end = columns - chunk < kSumChunk ? columns : chunk + kSumChunk;
    Simd::V sum[kTileRows];
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; ++r) sum[r] = Simd::zero();
    for (int64_t piece = chunk; piece < chunk_end; piece += kPiece) {
      const int64_t end = chunk_end - piece < kPiece ? chunk_end : piece + kPiece;
      prefetch_rows(rows + piece * kElementBytes, row_stride, (end - piece) * kElementBytes);
      for (int64_t i = piece; i < end; i += Simd::kWidth) {
        const Simd::V x = Simd::load(token + i);
#pragma GCC unroll 4
        for (int r = 0; r < kTileRows; ++r)
          sum[r] = Simd::fma(kLoad(rows + r * row_stride + i * kElementBytes), x, sum[r]);
      }
    }
    Simd::add_four_sums(sums, sum[0], sum[1], sum[2], sum[3]);
  }
}

inline Simd::V load_float(const uint8_t* bytes) { return Simd::load(reinterpret_cast<const float*>(bytes)); }

FusedDot fused_kernel(Format format) {
  switch (format) {
    case Format::kF32:
      return fused_dot<4, load_float>;
    case Format::kF16:
      return fused_dot<2, Simd::load_half>;
    case Format::kBF16:
      return fused_dot<2, Simd::load_bfloat16>;
    default:
      return nullptr;
  }
}
