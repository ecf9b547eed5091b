// What the products of quantised weights with fragments of activations share (tile_product.cu, warpgroup_product.cu):
// weights unpacked in registers, and which part of the work a block has.
#pragma once

#include "backend/cuda/arrive.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/planes.cuh"
#include "backend/cuda/wide.cuh"

namespace metallic::cuda {

constexpr int kGatedRows = kTileRows / 2;  // of each of the two weights

// Words of codes as bfloat16: 128 + code, and what has to be added for code - middle.
template <class P>
struct Codes {
  static constexpr int kMiddle = P::kBits == 8 ? 0 : 1 << (P::kBits - 1);
  // Four codes without their middle, as two pairs.
  __device__ static void pairs(uint32_t word, __nv_bfloat162* out) {
    for (int i = 0; i < 2; ++i) {
      uint32_t bits, rest;
      const unsigned spread = i == 0 ? 0x4140 : 0x4342;
      if constexpr (P::kBits == 8) {  // 128 + the low seven bits, - 128 or - 256
        bits = __byte_perm(word & 0x7f7f7f7fu, 0x43434343u, spread);
        rest = __byte_perm(word & 0x80808080u, 0xc3c3c3c3u, spread);
      } else {
        bits = __byte_perm(word, 0x43434343u, spread);
        rest = 0xc300c300u + kMiddle * 0x00010001u;
      }
      out[i] = __hadd2(*reinterpret_cast<const __nv_bfloat162*>(&bits),  //
                       *reinterpret_cast<const __nv_bfloat162*>(&rest));
    }
  }
};

// A group of a row: all of it in one lane.
template <class P, int kUnits>
struct LaneGroup {
  PlaneUnit<P> units[kUnits];

  // Words 2 p and 2 p + 1 of eight, four weights each, as pairs of bfloat16.
  __device__ void weights(int p, uint32_t* out) const {
    __nv_bfloat162 scale = {}, offset = {};
    for (int i = 0; i < 2; ++i) {
      const int word = 2 * p + i;
      if (i == 0) {
        float factor, start;
        units[0].factors(word / 4, factor, start);
        if constexpr (P::kBits != 8) start = fmaf(factor, float(Codes<P>::kMiddle - P::kZero), start);
        scale = __float2bfloat162_rn(factor);
        offset = __float2bfloat162_rn(start);
      }
      uint32_t codes;
      if constexpr (P::kBits == 8)
        codes = units[word / 4].codes[word % 4];
      else
        codes = units[0].word(word);
      __nv_bfloat162 pairs[2];
      Codes<P>::pairs(codes, pairs);
      constexpr bool kOffset = P::kBits != 8 && (Codes<P>::kMiddle != P::kZero || P::kScale == ScaleKind::kSuper ||
                                                 P::kScale == ScaleKind::kHalfPair);
      for (int k = 0; k < 2; ++k) {
        const __nv_bfloat162 w = kOffset ? __hfma2(pairs[k], scale, offset) : __hmul2(pairs[k], scale);
        out[2 * i + k] = *reinterpret_cast<const uint32_t*>(&w);
      }
    }
  }
};

// The rows of a tile: their target, and the number of the first.
struct TilePlace {
  int target, row;
};
__device__ inline TilePlace place_of(const TileProductArgs& a, int tile) {
  if (a.gated) return {0, tile * kGatedRows};
  int t = 0;
  while (t + 1 < a.count && tile >= a.targets[t + 1].first_tile) ++t;
  return {t, (tile - a.targets[t].first_tile) * kTileRows};
}

// The first of all chunks of all tiles that block `block` has.
__device__ inline int share(int64_t total, int block) { return int(total * block / gridDim.x); }

// A tile that several blocks have parts of, in order. Of each block, a.partial has two parts: of the tile that began in
// a block before, and of the one that begins in this block.
struct SharedTile {
  int64_t total, first_chunk;
  int first_block, last_block;

  __device__ SharedTile(int64_t all_chunks, int tile, int chunks)
      : total(all_chunks), first_chunk(int64_t(tile) * chunks) {
    first_block = int(((first_chunk + 1) * gridDim.x - 1) / total);
    last_block = int(((first_chunk + chunks) * gridDim.x - 1) / total);
  }
  __device__ int64_t part_of(int block) const { return int64_t(block) * 2 + (share(total, block) < first_chunk); }
  // By all threads, once they have stored this block's part: whether all parts are there, and to be read by this block.
  __device__ bool is_complete(int32_t* arrived, int* shared) const {
    return is_last_to_arrive(arrived, last_block - first_block + 1, shared);
  }
};

// A kernel for products, and how it is launched.
struct TileKernel {
  void (*kernel)(TileProductArgs);
  int threads;
  size_t shared;     // bytes
  int least_chunks;  // for a block
};
// That of warpgroup_product.cu for blocks of up to `tokens` tokens.
TileKernel warpgroup_kernel(Format format, int tokens);

}  // namespace metallic::cuda
