// Unpacked panels: from the rows of a file, and from packed ones. Included in the unnamed namespace of each folder's
// panels.cc, after simd_panel_common.h.

// The codes of group `group` (of 32 columns) of a row of blocks, and their scales and offsets for 16 or 32 columns.
template <class F>
inline void decode_group(const uint8_t* row, int64_t group, int8_t* codes, float* scales, float* offsets) {
  constexpr int kBlockGroups = F::kBlock / kGroupColumns, kParts = kGroupColumns / F::kGroup;
  const auto& block =
      *reinterpret_cast<const typename F::Block*>(row + group / kBlockGroups * int64_t(sizeof(typename F::Block)));
  for (int part = 0; part < kParts; ++part)
    F::decode(block, int(group % kBlockGroups) * kParts + part, codes + part * F::kGroup, scales[part], offsets[part]);
}

// kHalves: 1 also for a format whose groups of 16 share their scales.
template <class F, int kHalves>
void unpack_rows(const uint8_t* rows, int64_t row_stride, int count, int64_t first, int64_t groups,
                 const UnpackedPanel& out) {
  constexpr int kParts = kGroupColumns / F::kGroup;
  for (int64_t g = 0; g < groups; ++g) {
    uint8_t* to = out.codes + g * kGroupSteps * kLaneBytes;
    for (int row = 0; row < P::kWidth; ++row) {
      alignas(64) int8_t codes[kGroupColumns] = {};
      float scales[kParts] = {}, offsets[kParts] = {};
      if (row < count) decode_group<F>(rows + row * row_stride, first + g, codes, scales, offsets);
      for (int i = 0; i < kGroupColumns; ++i) codes[i] = int8_t(uint8_t(codes[i]) + kUnpackedBias);
#pragma GCC unroll 8
      for (int s = 0; s < kGroupSteps; ++s) __builtin_memcpy(to + s * kLaneBytes + 4 * row, codes + 4 * s, 4);
      for (int half = 0; half < kHalves; ++half) {
        out.scales[(g * kHalves + half) * P::kWidth + row] = scales[half];
        if (F::kHasOffset) out.offsets[(g * kHalves + half) * P::kWidth + row] = offsets[half];
      }
    }
  }
}

template <class Primitives = P>
void multiply_scales(const float* scales, int64_t groups, float* multiples) {
  for (int64_t g = 0; g < groups; ++g, scales += P::kWidth)
    for (int step = 0; step < kScaleSteps; ++step, multiples += P::kWidth)
      P::store(multiples, P::mul(P::load(scales), P::set(1 + float(step) / kScaleSteps)));
}

// The codes of the panels' planes with the bias of unpacked ones.
template <class Pack>
void unpack_panel(const PackedPanels& panel, int64_t first, int64_t groups, const UnpackedPanel& out) {
  constexpr int kHalves = Pack::Scales::kHalves;
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* chunk = panel.first + (first + g) / Pack::kChunk * panel.stride;
    const uint8_t *codes = chunk + Pack::codes_of(first + g), *scales = chunk + Pack::scales_of(first + g);
#pragma GCC unroll 8
    for (int64_t at = 0; at < Pack::kCodeBytes; at += 64) fetch_ahead(codes + at);
    fetch_ahead(scales);
    const auto planes = Pack::load(codes);
    uint8_t* to = out.codes + g * kGroupSteps * kLaneBytes;
    for_steps(
        [&](auto step) {
          constexpr int kDifference = kUnpackedBias - Pack::kBias;
          P::store_codes(to + step * kLaneBytes, P::template add_bias<kDifference>(Pack::template step<step>(planes)));
        },
        kAllSteps);
    P::V scale[2], offset[2];
    Pack::Scales::read(typename Pack::Scales::Header(chunk), scales, scale, offset);
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      P::store(out.scales + (g * kHalves + half) * P::kWidth, scale[half]);
      if constexpr (Pack::F::kHasOffset) P::store(out.offsets + (g * kHalves + half) * P::kWidth, offset[half]);
    }
  }
}
