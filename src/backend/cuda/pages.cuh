// Numbers of KV pages: one to its place, and eight in bfloat16, F8_E4M3 or Q8_0 as half precision for the tensor cores.
#pragma once

#include <cfloat>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/commands.h"
#include "base/float8.h"
#include "quant/q8_0.h"

namespace metallic::cuda {

inline bool has_halves(Format format) {
  return format == Format::kF16 || format == Format::kBF16 || format == Format::kF8_E4M3 || format == Format::kQ8_0;
}
// Whether eight numbers of a row can be read at once, wherever it is.
inline bool has_aligned_rows(const Pages& pages) {
  const int64_t step = pages.format == Format::kQ8_0 ? 1 : 8;
  return reinterpret_cast<uintptr_t>(pages.data) % 16 == 0 && pages.token_stride % step == 0 &&
         pages.head_stride % step == 0 && pages.page_stride % step == 0 &&
         (pages.format != Format::kQ8_0 || pages.width % quant::Q8_0::kBlock == 0);
}

// Where a position's row of the first head begins on its page, in elements or blocks; heads lie head_stride apart.
__device__ inline int64_t place_on_page(const Pages& pages, int page, int position) {
  return page * pages.page_stride + position % pages.page_tokens * pages.token_stride;
}

// To place `at`, in elements, of pages that are not in blocks.
__device__ inline void store_page(const Pages& pages, int64_t at, float value) {
  if (pages.format == Format::kF16)
    static_cast<__half*>(pages.data)[at] = __float2half_rn(value);
  else if (pages.format == Format::kBF16)
    static_cast<__nv_bfloat16*>(pages.data)[at] = __float2bfloat16_rn(value);
  else if (pages.format == Format::kF8_E4M3)
    static_cast<uint8_t*>(pages.data)[at] = float_to_e4m3(value);
  else
    static_cast<float*>(pages.data)[at] = value;
}

// What a half cannot hold becomes the largest that it can; what is no number, or infinite, stays so.
__device__ inline float fit_half(float x) {
  const float size = fabsf(x);
  return size > 65504.0f && size <= FLT_MAX ? copysignf(65504.0f, x) : x;
}

// Four numbers in F8_E4M3. A half with the bits of one is 2^-8 of it; NaN alone comes out above 448.
__device__ inline void four_halves(uint32_t codes, __half2* out) {
  for (int i = 0; i < 2; ++i) {
    const uint32_t two = __byte_perm(codes, 0, i == 0 ? 0x1404 : 0x3424);  // the upper bytes of two words
    const uint32_t bits = (two & 0x80008000u) | ((two & 0x7f007f00u) >> 1);
    const __half2 numbers = __hmul2(*reinterpret_cast<const __half2*>(&bits), __float2half2_rn(256.0f));
    const uint32_t nan = __hgt2_mask(__habs2(numbers), __float2half2_rn(448.0f));
    *reinterpret_cast<uint32_t*>(out + i) = *reinterpret_cast<const uint32_t*>(&numbers) | nan;
  }
}

// Numbers `at` (a multiple of 8) and on of the row that begins at `row`, in elements or blocks.
__device__ inline uint4 eight_halves(const Pages& pages, int64_t row, int at) {
  __half2 out[4];
  if (pages.format == Format::kQ8_0) {
    using Q = quant::Q8_0;
    const auto* first = static_cast<const Q::Block*>(pages.data) + row;
    const auto* block = reinterpret_cast<const uint16_t*>(first + at / Q::kBlock);
    const float scale = __half2float(__ushort_as_half(block[0]));
    for (int i = 0; i < 4; ++i) {
      const uint16_t two = block[1 + at % Q::kBlock / 2 + i];
      out[i] = __floats2half2_rn(fit_half(scale * float(int8_t(two & 255))), fit_half(scale * float(int8_t(two >> 8))));
    }
  } else if (pages.format == Format::kF8_E4M3) {
    const uint2 v = *reinterpret_cast<const uint2*>(static_cast<const uint8_t*>(pages.data) + row + at);
    four_halves(v.x, out);
    four_halves(v.y, out + 2);
  } else {
    const uint4 v = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(pages.data) + row + at);
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i)
      out[i] = __floats2half2_rn(fit_half(__uint_as_float(words[i] << 16)),
                                 fit_half(__uint_as_float(words[i] & 0xffff0000u)));
  }
  return *reinterpret_cast<const uint4*>(out);
}

}  // namespace metallic::cuda
