// Products of quantised weights with 9 to a few hundred tokens on Hopper: as tile_product.cu, and with its layouts and
// shares, but a warpgroup multiplies 64 rows at a time. Its weights are unpacked in registers, where the instruction
// takes them from; the activations are taken from shared memory, where the bulk copy engine puts them. Each lane has
// the codes and scales it will unpack in words of shared memory of its own, copied some chunks ahead by its warp: no
// other warp has to wait for them. Two warpgroups have a tile of 128 rows; of a gated product, each lane has the same
// rows of both weights, so that sums leave the registers only as results, or as parts of a tile that several blocks
// share. Floor: the bytes of the weights; 2 * rows * columns * tokens operations.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/tile_product.cuh"
#include "backend/cuda/warpgroup.cuh"

namespace metallic::cuda {
namespace {

constexpr int kWarpgroups = kTileRows / 64;
constexpr int kThreads = kWarpgroups * kWarpgroup;
constexpr int kRows = 2;         // of a lane
constexpr int kLeastChunks = 4;  // for a block

// A lane's words of a group of a row, besides the codes.
template <class P>
struct Words {
  static constexpr int kHigh = P::kHighBytes / 4;
  static constexpr int kScale = kHigh, kSuper = kScale + 1;
  static constexpr int kCount = kSuper + (P::kSuperBytes > 0 ? 1 : 0);
};

template <class P, int kTokens>
struct Shape {
  static constexpr int kUnits = P::kBits == 8 ? 2 : 1;       // of 16 bytes of codes, of a row in a chunk
  static constexpr int kBlocks = kTokens <= 32 ? 2 : 1;      // on a multiprocessor
  static constexpr int kActivations = kTokens * kChunk * 2;  // bytes of a stage
  static constexpr int kCodes = kRows * kUnits * kThreads * 16, kWords = kRows * Words<P>::kCount * kThreads * 4;
  static constexpr int kStage = kActivations + kCodes + kWords;
  static constexpr int kMost = (kBlocks == 1 ? 224 : 112) << 10, kMostStages = kBlocks == 1 ? 8 : 6;
  static constexpr int kStages = kMost / kStage < kMostStages ? kMost / kStage : kMostStages;
  static constexpr int kShared = kStages * kStage;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// What follows the codes of a chunk in a row is wanted soon: the second-level cache gets 256 bytes at a time, four
// chunks, or of 8-bit codes one chunk, which 256 bytes made 5 % slower.
template <bool kSmall>
__device__ void copy_codes(void* to, const void* from) {
  if constexpr (kSmall)
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
  else
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}

// Where a lane's rows of a tile lie.
template <class P>
struct LaneRows {
  const char *codes[kRows], *high[kRows], *scales[kRows], *supers[kRows];

  __device__ void enter(const TileProductArgs& a, int tile, int groups) {
    const TilePlace place = place_of(a, tile);
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const WeightRef& weight = a.targets[a.gated ? r : place.target].weight;
      const int row = place.row + (a.gated ? warp * 8 : warp * 16 + r * 8) + lane / 4;
      const int64_t first = int64_t(min(row, weight.rows - 1)) * groups;
      codes[r] = static_cast<const char*>(weight.codes) + first * P::kCodeBytes;
      high[r] = static_cast<const char*>(weight.high) + first * P::kHighBytes;
      scales[r] = static_cast<const char*>(weight.scales) + first * P::kScaleBytes;
      supers[r] = static_cast<const char*>(weight.supers) + first / 8 * P::kSuperBytes;
    }
  }
  __device__ const char* scale_at(int r, int group) const { return scales[r] + group * P::kScaleBytes; }
  __device__ const char* super_at(int r, int group) const { return supers[r] + group / 8 * P::kSuperBytes; }
};

// A stage of this lane's weights in shared memory.
template <class P, int kUnits>
struct LaneStage {
  char *codes, *words;
  __device__ char* code(int r, int unit) const { return codes + (r * kUnits + unit) * kThreads * 16; }
  __device__ char* word(int r, int which) const { return words + (r * Words<P>::kCount + which) * kThreads * 4; }

  // A row's pieces of codes of a chunk follow one another: the four lanes of a row copy neighbouring ones, each to the
  // lane whose group it is of.
  __device__ void fetch(const LaneRows<P>& rows, int chunk, int groups) const {
    using W = Words<P>;
    const int in_row = int(threadIdx.x) % 4, last = groups - 1;  // what is too much is multiplied by zeros
    const int group = min(chunk * 4 + in_row, last);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        const int piece = u * 4 + in_row, owner = piece / kUnits, unit = piece % kUnits;
        copy_codes<kUnits == 1>(codes + (r * kUnits + unit) * kThreads * 16 + (owner - in_row) * 16,
                                rows.codes[r] + (min(chunk * 4 + owner, last) * kUnits + unit) * 16);
      }
#pragma unroll
      for (int h = 0; h < W::kHigh; ++h) copy_word(word(r, h), rows.high[r] + (group * W::kHigh + h) * 4);
      copy_word(word(r, W::kScale), word_of(rows.scale_at(r, group)));
      if constexpr (P::kSuperBytes > 0) copy_word(word(r, W::kSuper), word_of(rows.super_at(r, group)));
    }
  }

  // `odd`: of each row, whether numbers of two bytes of group 0 are the second of a word; scales, then supers.
  __device__ void take(const bool (*odd)[2], int chunk, int groups, LaneGroup<P, kUnits>* to) const {
    using W = Words<P>;
    const int group = min(chunk * 4 + int(threadIdx.x) % 4, groups - 1);
    const auto load = [](const void* at) { return *static_cast<const uint32_t*>(at); };
    const auto half_of = [](uint32_t word, bool second) { return second ? word >> 16 : word & 0xffffu; };
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      PlaneUnit<P>& first = to[r].units[0];
      first.high[0] = first.high[1] = first.super = 0;
#pragma unroll
      for (int h = 0; h < W::kHigh; ++h) first.high[h] = load(word(r, h));
      first.scale = load(word(r, W::kScale));
      if constexpr (P::kScaleBytes == 2) first.scale = half_of(first.scale, odd[r][0] != (group % 2 != 0));
      if constexpr (P::kSuperBytes > 0) first.super = load(word(r, W::kSuper));
      if constexpr (P::kSuperBytes == 2) first.super = half_of(first.super, odd[r][1] != (group / 8 % 2 != 0));
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        if (u > 0) to[r].units[u] = first;
        const uint4 c = *reinterpret_cast<const uint4*>(code(r, u));
        uint32_t* codes = to[r].units[u].codes;
        codes[0] = c.x, codes[1] = c.y, codes[2] = c.z, codes[3] = c.w;
      }
    }
  }
};

// A lane's sums are c[4 n + 2 r + i]: of token 8 n + 2 (lane % 4) + i and its row r.
template <int kTokens, class Put>
__device__ void put_sums(float* to, int64_t stride, int tokens, const float* bias, const float* c, const Put& put) {
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (n * 8 + i < tokens) put(to + (n * 8 + i) * stride, c[4 * n + i] + (bias ? *bias : 0.0f));
}
template <int kTokens>
__device__ void finish_plain(const TileProductArgs& a, const TilePlace& place, int first_token, const float* c) {
  const TileProductArgs::Target& target = a.targets[place.target];
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int token = first_token + lane % 4 * 2, tokens = a.tokens - token;
  // Nobody else adds to these numbers: a sum does not depend on an order, and nobody waits for it.
  const auto add = [](float* to, float value) { atomicAdd(to, value); };
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int row = place.row + warp * 16 + r * 8 + lane / 4;
    if (row >= target.weight.rows) continue;
    const float* bias = target.bias ? target.bias + row : nullptr;
    const auto put = [&](float* to, int64_t stride, const auto& how) {
      put_sums<kTokens>(to + token * stride + row, stride, tokens, bias, c + 2 * r, how);
    };
    if (target.residual) put(target.residual, target.residual_stride, add);
    if (target.out.data && target.accumulate) put(target.out.data, target.out.stride, add);
    if (target.out.data && !target.accumulate)
      put(target.out.data, target.out.stride, [](float* to, float value) { *to = value; });
  }
}

template <int kTokens>
__device__ void finish_gated(const TileProductArgs& a, const TilePlace& place, int first_token, float* c) {
  const TileProductArgs::Target &first = a.targets[0], &second = a.targets[1];
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, rows = first.weight.rows;
  const int row = place.row + warp * 8 + lane / 4;
  const bool valid = row < rows, odd = row % 2 != 0;
  const float gate_bias = valid && first.bias ? first.bias[row] : 0.0f;
  const float up_bias = valid && second.bias ? second.bias[row] : 0.0f;
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
    const int token = first_token + n * 8 + lane % 4 * 2;
    float values[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float up = c[4 * n + 2 + i] + up_bias;
      values[i] = valid ? gate_of(a.activation, c[4 * n + i] + gate_bias, up, a.clamp) : 0.0f;
      if (!valid || token + i >= a.tokens) continue;
      if (second.out.data) second.out.data[(token + i) * second.out.stride + row] = up;
      if (first.out.data) first.out.data[(token + i) * first.out.stride + row] = values[i];
    }
    if (a.to.data == nullptr) continue;
    // The neighbour has the other column of both pairs: each writes one.
    const float other = __shfl_xor_sync(kAllLanes, odd ? values[0] : values[1], 4);
    const int mine = token + (odd ? 1 : 0);
    if (mine < a.tokens && row < (rows + kChunk - 1) / kChunk * kChunk)
      *pair_of(a.to, mine, row - odd, rows) =
          odd ? pair_bits(other, values[1], false) : pair_bits(values[0], other, false);
  }
}

#endif

template <class P, int kTokens>
__global__ void __launch_bounds__(kThreads, Shape<P, kTokens>::kBlocks)
    warpgroup_product_kernel(const __grid_constant__ TileProductArgs a) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using S = Shape<P, kTokens>;
  extern __shared__ __align__(128) char memory[];
  __shared__ uint64_t filled[S::kStages], emptied[S::kStages];
  __shared__ int last;
  char* weights = memory + S::kStages * S::kActivations;
  const int lane = int(threadIdx.x) % kWarp;
  const int chunks = (a.columns + kChunk - 1) / kChunk, groups = a.columns / 32;
  const int64_t total = int64_t(a.tiles) * chunks;
  const int begin = share(total, int(blockIdx.x)), end = share(total, int(blockIdx.x) + 1);
  const int first_token = int(blockIdx.y) * kTokens;
  let_next_start();
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kStages; ++i) {
      start_barrier(filled + i, 1);
      start_barrier(emptied + i, kThreads / kWarp);
    }
    publish_barriers();
  }
  __syncthreads();

  // Activations: one thread has the next chunk copied.
  const char* x = static_cast<const char*>(a.x) + first_token * kChunk * 2;
  const int64_t x_stride = int64_t(a.token_tiles) * 8 * kChunk * 2;
  int x_next = begin, x_chunk = begin % chunks, x_stage = 0;
  unsigned x_phase = 1;  // the first time round, the stages are empty
  const auto fetch_x = [&] {
    if (threadIdx.x != 0 || x_next == end) return;
    wait_for_phase(emptied + x_stage, x_phase);
    arrive_expecting(filled + x_stage, S::kActivations);
    copy_bulk(memory + x_stage * S::kActivations, x + x_chunk * x_stride, S::kActivations, filled + x_stage);
    ++x_next;
    if (++x_chunk == chunks) x_chunk = 0;
    if (++x_stage == S::kStages) x_stage = 0, x_phase ^= 1;
  };
  // Weights.
  const auto lane_stage = [&](int stage) {
    char* codes = weights + stage * (S::kCodes + S::kWords);
    return LaneStage<P, S::kUnits>{codes + threadIdx.x * 16, codes + S::kCodes + threadIdx.x * 4};
  };
  LaneRows<P> rows;
  int next = begin, next_chunk = begin % chunks, next_stage = 0;
  if (begin < end) rows.enter(a, begin / chunks, groups);
  const auto fetch = [&] {
    if (next < end) {
      lane_stage(next_stage).fetch(rows, next_chunk, groups);
      if (++next_stage == S::kStages) next_stage = 0;
      ++next;
      if (++next_chunk == chunks) {
        next_chunk = 0;
        if (next < end) rows.enter(a, next / chunks, groups);
      }
    }
    end_copies();
  };
  for (int i = 0; i < S::kStages - 1; ++i) fetch();
  wait_for_previous();
  for (int i = 0; i < S::kStages - 2; ++i) fetch_x();

  int stage = 0;
  unsigned phase = 0;
  for (int at = begin; at < end;) {
    const int tile = at / chunks, first_chunk = at % chunks, count = min(chunks - first_chunk, end - at);
    const TilePlace place = place_of(a, tile);
    bool odd[kRows][2];
    {
      LaneRows<P> now;
      now.enter(a, tile, groups);
      for (int r = 0; r < kRows; ++r) {
        odd[r][0] = reinterpret_cast<uintptr_t>(now.scales[r]) & 2;
        odd[r][1] = reinterpret_cast<uintptr_t>(now.supers[r]) & 2;
      }
    }
    float c[kTokens / 2];
    constexpr int kSteps = 2;              // of a chunk: what is started together, as registers allow
    constexpr int kPairs = 4 / kSteps;     // of instructions, of a step
    uint32_t w[2][2 * kPairs][kRows * 2];  // of two steps
    int before = -1;                       // the stage that is still read
    for (int i = 0; i < count; ++i) {
      LaneGroup<P, S::kUnits> unpacked[kRows];
      wait_for_copies<S::kStages - 2>();
      __syncwarp();
      lane_stage(stage).take(odd, first_chunk + i, groups, unpacked);
      fetch();
      fetch_x();  // to the stage of the chunk before the last
      __syncwarp();
      wait_for_phase(filled + stage, phase);
      const MatrixPlace b = matrix_of(memory + stage * S::kActivations, 128, kMatrices * 128);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        warpgroup_wait<1>();
        if (step == 1 && before >= 0 && lane == 0) arrive(emptied + before);
#pragma unroll
        for (int p = 0; p < kPairs; ++p) {
          uint32_t row[kRows][4];
#pragma unroll
          for (int r = 0; r < kRows; ++r) unpacked[r].weights(step * kPairs + p, row[r]);
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            uint32_t* to = w[step % 2][2 * p + j];
            to[0] = row[0][2 * j], to[1] = row[1][2 * j], to[2] = row[0][2 * j + 1], to[3] = row[1][2 * j + 1];
          }
        }
        warpgroup_fence();
#pragma unroll
        for (int j = 0; j < 2 * kPairs; ++j)
          multiply_warpgroup<kTokens>(c, w[step % 2][j], b.further((2 * kPairs * step + j) * 2 * 128),
                                      i > 0 || step > 0 || j > 0);
        warpgroup_end();
      }
      before = stage;
      if (++stage == S::kStages) stage = 0, phase ^= 1;
    }
    warpgroup_wait<0>();
    if (lane == 0) arrive(emptied + before);

    const bool whole = count == chunks;
    if (!whole) {
      constexpr int kPart = kTokens * kTileRows / 4;
      const SharedTile shared_tile(total, tile, chunks);
      float4* parts = reinterpret_cast<float4*>(a.partial) + int64_t(blockIdx.y) * gridDim.x * 2 * kPart + threadIdx.x;
      float4* part = parts + shared_tile.part_of(int(blockIdx.x)) * kPart;
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n)
        part[n * kThreads] = make_float4(c[4 * n], c[4 * n + 1], c[4 * n + 2], c[4 * n + 3]);
      at += count;
      if (!shared_tile.is_complete(a.arrived + blockIdx.y * a.tiles + tile, &last)) continue;
#pragma unroll
      for (int k = 0; k < kTokens / 2; ++k) c[k] = 0;
      for (int block = shared_tile.first_block; block <= shared_tile.last_block; ++block) {
        const float4* other = parts + shared_tile.part_of(block) * kPart;
#pragma unroll
        for (int n = 0; n < kTokens / 8; ++n) {
          const float4 v = __ldcg(other + n * kThreads);
          c[4 * n] += v.x, c[4 * n + 1] += v.y, c[4 * n + 2] += v.z, c[4 * n + 3] += v.w;
        }
      }
    } else {
      at += count;
    }
    if (a.gated)
      finish_gated<kTokens>(a, place, first_token, c);
    else
      finish_plain<kTokens>(a, place, first_token, c);
  }
#endif
}

}  // namespace

bool has_warpgroups() {
  int device = 0, major = 0;
  (void)cudaGetDevice(&device);
  (void)cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaFuncAttributes attributes = {};
  const auto kernel = reinterpret_cast<const void*>(warpgroup_product_kernel<PlanesQ4_0, 16>);
  // Built for other processors alone, the kernel is empty: without its barriers.
  return major == 9 && cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.sharedSizeBytes > 0;
}

TileKernel warpgroup_kernel(Format format, int tokens) {
  TileKernel result = {};
  visit_planes(format, [&]<class P>(P) {
    const auto set = [&]<int kTokens>(std::integral_constant<int, kTokens>) {
      result = {warpgroup_product_kernel<P, kTokens>, kThreads, Shape<P, kTokens>::kShared, kLeastChunks};
    };
    tokens <= 16   ? set(std::integral_constant<int, 16>{})
    : tokens <= 32 ? set(std::integral_constant<int, 32>{})
    : tokens <= 64 ? set(std::integral_constant<int, 64>{})
                   : set(std::integral_constant<int, 128>{});
  });
  return result;
}

}  // namespace metallic::cuda
