// The panel kernels for 64-bit ARM with the instructions for products of matrices of bytes: smmla multiplies two rows
// with two tokens over eight columns. One token alone takes sdot, as in ../neondot.
#include "backend/cpu/panels.h"

#include <arm_neon.h>

#include <bit>
#include <utility>

#include "quant/codebook_rows.h"
#include "quant/formats.h"

namespace metallic::cpu {
namespace {

#include "backend/cpu/neon_panel_primitives.h"

struct P : NeonPanels {
  static constexpr int kTokens = 6;

  template <bool>
  static I dot(I sum, C codes, T token) {
    return vdotq_s32(sum, vreinterpretq_s8_u8(codes), token);
  }

  // Eight columns of two rows, out of two steps; kUpper: of the panel's upper two rows.
  template <bool kUpper>
  static int8x16_t two_rows(C step, C next) {
    const uint32x4_t a = vreinterpretq_u32_u8(step), b = vreinterpretq_u32_u8(next);
    return vreinterpretq_s8_u32(kUpper ? vzip2q_u32(a, b) : vzip1q_u32(a, b));
  }
  // Eight columns of two tokens.
  static int8x16_t two_tokens(const int8_t* first, const int8_t* second) {
    return vcombine_s8(vld1_s8(first), vld1_s8(second));
  }
};

#include "backend/cpu/simd_panel_codes.h"
#include "backend/cpu/simd_panel_common.h"

// After the headers whose functions it uses, before those that use its own.
#include "backend/cpu/neoni8mm/pair_dots.h"
#include "backend/cpu/simd_panel_entries.h"
#include "backend/cpu/simd_panel_expand.h"
#include "backend/cpu/simd_panel_formats.h"
#include "backend/cpu/simd_panel_limits.h"
#include "backend/cpu/simd_panel_listed.h"
#include "backend/cpu/simd_panel_output.h"
#include "backend/cpu/simd_panel_pack.h"

// As dot_peak, of the instruction that multiplies matrices.
int64_t matrix_peak(int64_t rounds) {
  constexpr int kSums = 16;
  alignas(16) int8_t rows[2][16], tokens[16];
  for (int i = 0; i < 16; ++i) {
    rows[0][i] = int8_t(i);
    rows[1][i] = int8_t(16 - i);
    tokens[i] = int8_t(i % 7 - 3);
  }
  int32x4_t sum[kSums];
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) sum[i] = vdupq_n_s32(0);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" ::"r"(rows), "r"(tokens) : "memory");  // they may be others in each round, for all that is known
    const int8x16_t lower = vld1q_s8(rows[0]), upper = vld1q_s8(rows[1]), two = vld1q_s8(tokens);
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sum[i] = vmmlaq_s32(sum[i], i % 2 == 0 ? lower : upper, two);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) asm volatile("" ::"w"(sum[i]));
  return rounds * kSums * 32 * 2;
}

}  // namespace

const PanelKernels& neoni8mm_panels() {
  static const PanelKernels kernels = [] {
    PanelKernels table = make_panel_kernels("neoni8mm", "neon");
    table.peak = matrix_peak;
    return table;
  }();
  return kernels;
}

}  // namespace metallic::cpu
