// The product of weights as they lie in the file with one token, for the most used formats: each block is turned into
// floats in registers and multiplied at once. Included in the unnamed namespace of each folder's kernels.cc after
// simd_dequantize.h.
//
// Floor: the bytes of the weights. Four rows at a time, so that the four dependent sums hide each other's latency; the
// order of each sum is that of dot_tile, and so are the bits.

constexpr int64_t kPiece = 256;  // columns between prefetches

// A prefetch of `bytes` from every row of the next four.
inline void prefetch_rows(const uint8_t* rows, int64_t row_stride, int64_t bytes) {
  for (int r = kTileRows; r < 2 * kTileRows; ++r)
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(rows + r * row_stride + at);
}

// `Step` describes a format: kColumns weights of kBytes bytes; multiply(bytes, row_stride, token, sums) adds the
// product of each of four rows to its sum.
template <class Step>
void fused_dot(const uint8_t* rows, int64_t row_stride, const float* token, int64_t columns, float* sums) {
  for (int64_t chunk = 0; chunk < columns; chunk += kSumChunk) {
    const int64_t chunk_end = columns - chunk < kSumChunk ? columns : chunk + kSumChunk;
    Simd::V sum[kTileRows];
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; ++r) sum[r] = Simd::zero();
    for (int64_t piece = chunk; piece < chunk_end; piece += kPiece) {
      const int64_t end = chunk_end - piece < kPiece ? chunk_end : piece + kPiece;
      const uint8_t* bytes = rows + piece / Step::kColumns * Step::kBytes;
      prefetch_rows(bytes, row_stride, (end - piece) / Step::kColumns * Step::kBytes);
      for (int64_t i = piece; i < end; i += Step::kColumns, bytes += Step::kBytes)
        Step::multiply(bytes, row_stride, token + i, sum);
    }
    Simd::add_four_sums(sums, sum[0], sum[1], sum[2], sum[3]);
  }
}

template <class Decoder>
struct BlockStep {
  using Block = typename Decoder::F::Block;
  static constexpr int kColumns = Decoder::F::kBlock, kBytes = sizeof(Block);
  static constexpr int kPartColumns = kColumns / Decoder::kParts;

  static void multiply(const uint8_t* bytes, int64_t row_stride, const float* token, Simd::V (&sum)[kTileRows]) {
    typename Decoder::Scales scales[kTileRows];
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; ++r) scales[r] = Decoder::scales(*block(bytes + r * row_stride));
    for_each_part(std::make_integer_sequence<int, Decoder::kParts>(), [&](auto part) {
#pragma GCC unroll 4
      for (int r = 0; r < kTileRows; ++r) {
        float weights[kPartColumns];  // the compiler keeps them in registers
        Decoder::template part<part>(*block(bytes + r * row_stride), scales[r], weights);
#pragma GCC unroll 32
        for (int i = 0; i < kPartColumns; i += Simd::kWidth)
          sum[r] = Simd::fma(Simd::load(weights + i), Simd::load(token + part * kPartColumns + i), sum[r]);
      }
    });
  }
  static const Block* block(const uint8_t* bytes) { return reinterpret_cast<const Block*>(bytes); }
};

template <int kElementBytes, Simd::V (*kLoad)(const uint8_t*)>
struct NumberStep {
  static constexpr int kColumns = Simd::kWidth, kBytes = kElementBytes * Simd::kWidth;

  static void multiply(const uint8_t* bytes, int64_t row_stride, const float* token, Simd::V (&sum)[kTileRows]) {
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; ++r) sum[r] = Simd::fma(kLoad(bytes + r * row_stride), Simd::load(token), sum[r]);
  }
};

FusedDot fused_kernel(Format format) {
  switch (format) {
    case Format::kF32:
      return fused_dot<NumberStep<4, load_float>>;
    case Format::kF16:
      return fused_dot<NumberStep<2, Simd::load_half>>;
    case Format::kBF16:
      return fused_dot<NumberStep<2, Simd::load_bfloat16>>;
    case Format::kQ4_0:
      return fused_dot<BlockStep<DecodeQ4_0>>;
    case Format::kQ4_1:
      return fused_dot<BlockStep<DecodeQ4_1>>;
    case Format::kQ5_0:
      return fused_dot<BlockStep<DecodeQ5_0>>;
    case Format::kQ5_1:
      return fused_dot<BlockStep<DecodeQ5_1>>;
    case Format::kQ8_0:
      return fused_dot<BlockStep<DecodeQ8_0>>;
    case Format::kQ4_K:
      return fused_dot<BlockStep<DecodeQ4_K>>;
    case Format::kQ5_K:
      return fused_dot<BlockStep<DecodeQ5_K>>;
    case Format::kQ6_K:
      return fused_dot<BlockStep<DecodeQ6_K>>;
    default:
      return nullptr;
  }
}
