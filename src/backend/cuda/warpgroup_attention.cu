// Attention of many rows (prompts) on Hopper: a block for 128 or 192 query rows of a head, a warpgroup for 64 of them;
// two warps have the copy engine bring the keys and values of 128 positions at a time to shared memory, page by page.
// While the products of a tile's weights and values are under way, a warpgroup makes the weights of the next; the
// warpgroups take turns at starting products, so that one multiplies while another has its softmax. Queries and weights
// are rounded to the 16 bits of the pages, sums are float32. Floor: 4 * rows * keys * width operations a head, half of
// that if causal.
#include <cudaTypedefs.h>

#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/warpgroup.cuh"
#include "backend/cuda/wide.cuh"

namespace metallic::cuda {
namespace {

constexpr int kKeys = 128, kStages = 3;

template <int kWidth>
struct Shape {
  static constexpr int kWarpgroups = kWidth <= 64 ? 3 : 2;  // that multiply
  static constexpr int kRows = kWarpgroups * 64, kMultiplying = kWarpgroups * kWarpgroup;
  static constexpr int kThreads = kMultiplying + kWarpgroup;
  static constexpr int kSlices = (kWidth + 63) / 64;
  static constexpr int kTile = kSlices * kKeys * kSliceBytes;  // bytes of the keys, or values, of a tile
  static constexpr int kQuery = kSlices * 64 * kSliceBytes;    // of a warpgroup
  static constexpr int kShared = kWarpgroups * kQuery + kStages * 2 * kTile + 8 * kSliceBytes;
};

struct Args {
  FlashArgs flash;
  CUtensorMap keys, values;  // (pages, kv_heads, page_tokens, width), in boxes of (1, 1, page_tokens, 64)
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr float kLog2E = 1.44269504f;
enum NamedBarrier { kAll, kOfWarpgroup, kTurn = kOfWarpgroup + 3 };

struct Barriers {
  uint64_t filled[kStages][2], emptied[kStages][2];  // keys, values
  uint64_t last;                                     // values that end within a tile
};

// What the rows of a block see.
struct Seen {
  int begin, end;  // positions of keys
  int count;       // tiles, from first_tile() on

  __device__ int first_tile() const { return begin / kKeys * kKeys; }
  __device__ Seen(const AttentionArgs& a, const DeviceSequence& sequence, int first_row, int rows) {
    const int first = sequence.position + first_row, side = a.window / 2;
    const int last = sequence.position + min(first_row + rows, sequence.rows) - 1;
    const int known = sequence.position + sequence.rows;
    begin = a.window > 0 ? max(0, a.causal ? first - a.window + 1 : first - side) : 0;
    end = a.causal ? last + 1 : a.window > 0 ? min(known, last + side + 1) : known;
    count = (end - first_tile() + kKeys - 1) / kKeys;
  }
};

// A warp has the keys of all tiles brought, or the values; a lane those of a page.
template <int kWidth>
__device__ void bring(const Args& args, const DeviceSequence& sequence, const Seen& seen, int kv_head, int which,
                      char* tiles, Barriers& barriers) {
  using S = Shape<kWidth>;
  const int lane = int(threadIdx.x) % kWarp, page_tokens = args.flash.attention.keys.page_tokens;
  const CUtensorMap* map = which == 0 ? &args.keys : &args.values;
  int stage = 0;
  unsigned phase = 1;  // at first they are empty
  for (int i = 0; i < seen.count; ++i) {
    const int tile = seen.first_tile() + i * kKeys, position = tile + lane * page_tokens;
    const bool mine = lane * page_tokens < kKeys && position < seen.end;
    const int page = mine ? sequence.pages[position / page_tokens] : 0;
    const int pages = (min(kKeys, seen.end - tile) + page_tokens - 1) / page_tokens;
    const bool ends = which == 1 && tile + kKeys > seen.end;
    uint64_t* filled = ends ? &barriers.last : &barriers.filled[stage][which];
    char* to = tiles + (stage * 2 + which) * S::kTile;
    wait_for_phase(&barriers.emptied[stage][which], phase);
    if (lane == 0) arrive_expecting(filled, pages * page_tokens * S::kSlices * kSliceBytes);
    __syncwarp();
    if (mine)
#pragma unroll
      for (int slice = 0; slice < S::kSlices; ++slice)
        copy_box(to + (slice * kKeys + lane * page_tokens) * kSliceBytes, map, slice * 64, 0, kv_head, page, filled);
    if (ends) {  // what is multiplied by a weight of zero must be a number
      wait_for_phase(filled, 0);
      for (int row = seen.end - tile; row < kKeys; ++row)
        if (lane < S::kSlices * 8)
          *reinterpret_cast<uint4*>(to + (lane / 8 * kKeys + row) * kSliceBytes + lane % 8 * 16) =
              make_uint4(0, 0, 0, 0);
      publish_shared();
      __syncwarp();
      if (lane == 0) arrive(&barriers.filled[stage][which]);
    }
    if (++stage == kStages) stage = 0, phase ^= 1;
  }
}

// This lane's rows of its warpgroup: those of lane / 4 of its warp and 8 further.
struct Rowwise {
  int position;          // of the first
  int from[2], to[2];    // what they see, of positions
  int all_from, all_to;  // what all rows of the warpgroup see
  float highest[2], sum[2];

  __device__ Rowwise(const AttentionArgs& a, const DeviceSequence& sequence, int warpgroup_row, int end) {
    const int warp = int(threadIdx.x) / kWarp % 4, lane = int(threadIdx.x) % kWarp, side = a.window / 2;
    const int first_row = warpgroup_row + warp * 16 + lane / 4;
    position = sequence.position + first_row;
    const auto from_of = [&](int row) {
      return a.window == 0 ? 0 : sequence.position + row - (a.causal ? a.window - 1 : side);
    };
    const auto to_of = [&](int row) {
      const int position = sequence.position + row;
      return a.causal ? min(end, position + 1) : a.window == 0 ? end : min(end, position + side + 1);
    };
    for (int r = 0; r < 2; ++r) {
      from[r] = from_of(first_row + 8 * r), to[r] = to_of(first_row + 8 * r);
      highest[r] = -INFINITY, sum[r] = 0;
    }
    all_from = from_of(warpgroup_row + 63), all_to = to_of(warpgroup_row);
  }

  // Scores of the tile at `tile` of head `head` become weights; what the sums up to now have to be multiplied by.
  __device__ void weigh(const AttentionArgs& a, int head, int tile, float* scores, float* factor) {
    if (a.softcap > 0) {
      const float twice = 2 * kLog2E / a.softcap;
#pragma unroll
      for (int k = 0; k < kKeys / 2; ++k)  // tanh(x) = 1 - 2 / (e^2x + 1)
        scores[k] = a.softcap * fmaf(-2.0f, __fdividef(1.0f, fast_exp2(scores[k] * twice) + 1.0f), 1.0f);
    }
    const int lane_tile = tile + int(threadIdx.x) % 4 * 2;
    if (a.slopes) {
      const float slope = a.slopes[head];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int distance = position + 8 * r - lane_tile;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) scores[4 * n + 2 * r + i] -= slope * float(abs(distance - (n * 8 + i)));
      }
    }
    if (tile < all_from || tile + kKeys > all_to) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int low = from[r] - lane_tile, high = to[r] - lane_tile;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i)
            if (n * 8 + i < low || n * 8 + i >= high) scores[4 * n + 2 * r + i] = -INFINITY;
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most[2] = {highest[r], highest[r]};
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) most[i] = fmaxf(most[i], scores[4 * n + 2 * r + i]);
      float best = fmaxf(most[0], most[1]);
      best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, 1));
      best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, 2));
      const float shift = best == -INFINITY ? 0.0f : best * kLog2E;
      factor[r] = fast_exp2(fmaf(highest[r], kLog2E, -shift));
      highest[r] = best;
      float sums[2] = {sum[r] * factor[r], 0};
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[4 * n + 2 * r + i];
          score = fast_exp2(fmaf(score, kLog2E, -shift));
          sums[i] += score;
        }
      sum[r] = sums[0] + sums[1];
    }
  }

  // What the results have to be multiplied by in the end. A sink takes part in the softmax, and has no value.
  __device__ float last_factor(int r, const float* sink) {
    sum[r] += __shfl_xor_sync(kAllLanes, sum[r], 1);
    sum[r] += __shfl_xor_sync(kAllLanes, sum[r], 2);
    if (!sink) return 1.0f / sum[r];
    const float most = fmaxf(highest[r], *sink), factor = exp2f((highest[r] - most) * kLog2E);
    return factor / fmaf(sum[r], factor, exp2f((*sink - most) * kLog2E));
  }
};

// Weights, which need no clamp.
template <bool kBfloat>
__device__ uint32_t pack(float low, float high) {
  if constexpr (kBfloat) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

// The queries of a warpgroup to shared memory; zeros behind the last row.
template <int kWidth, bool kBfloat>
__device__ void put_queries(const AttentionArgs& a, const DeviceSequence& sequence, int warpgroup_row, int head,
                            char* to) {
  constexpr int kPieces = kWidth / 8;
  const bool aligned = reinterpret_cast<uintptr_t>(a.query.data) % 16 == 0 && a.query.row_stride % 4 == 0 &&
                       a.query.head_stride % 4 == 0;
#pragma unroll 4
  for (int i = int(threadIdx.x) % kWarpgroup; i < 64 * kPieces; i += kWarpgroup) {
    const int row = i / kPieces, piece = i % kPieces;
    float values[8] = {};
    if (warpgroup_row + row < sequence.rows) {
      load_eight(a.query.data + (sequence.first_row + warpgroup_row + row) * a.query.row_stride +
                     head * a.query.head_stride + piece * 8,
                 aligned, values);
      for (float& value : values) value *= a.scale;
    }
    *reinterpret_cast<uint4*>(to + piece / 8 * (64 * kSliceBytes) + piece_in_slice(row, piece % 8)) =
        eight_bits_of(values, !kBfloat);
  }
  publish_shared();
}

// Results to where they are wanted; `memory` is this warpgroup's place for queries.
template <int kWidth>
__device__ void put_results(const FlashArgs& f, const DeviceSequence& sequence, int warpgroup_row, int head,
                            const float* result, const float* factor, char* memory) {
  const AttentionArgs& a = f.attention;
  const int warp = int(threadIdx.x) / kWarp % 4, lane = int(threadIdx.x) % kWarp, columns = a.heads * kWidth;
  const bool dense = f.to.data && f.to.token_tiles == 0;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int in_group = warp * 16 + lane / 4 + 8 * r;
    if (warpgroup_row + in_group >= sequence.rows) continue;
    const int row = sequence.first_row + warpgroup_row + in_group;
    float* out = a.out.data ? a.out.data + row * a.out.row_stride + head * a.out.head_stride : nullptr;
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
      const int column = n * 8 + lane % 4 * 2;
      const float x = result[4 * n + 2 * r] * factor[r], y = result[4 * n + 2 * r + 1] * factor[r];
      if (out) out[column] = x, out[column + 1] = y;
      if (f.to.data == nullptr) continue;
      uint32_t* to = pair_of(f.to, row, head * kWidth + column, columns);
      if (dense)
        to = reinterpret_cast<uint32_t*>(memory + n / 8 * (64 * kSliceBytes) + piece_in_slice(in_group, n % 8)) +
             lane % 4;
      *to = pair_bits(x, y, f.to.half != 0);
    }
  }
  if (!dense) return;
  // Of dense rows, whole pieces.
  constexpr int kPieces = kWidth / 8;
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * kPieces; i += kWarp) {
    const int in_group = warp * 16 + i / kPieces, piece = i % kPieces;
    if (warpgroup_row + in_group >= sequence.rows) break;
    const int row = sequence.first_row + warpgroup_row + in_group;
    *reinterpret_cast<uint4*>(pair_of(f.to, row, head * kWidth + piece * 8, columns)) =
        *reinterpret_cast<const uint4*>(memory + piece / 8 * (64 * kSliceBytes) + piece_in_slice(in_group, piece % 8));
  }
}

template <int kWidth, bool kBfloat>
__device__ void attend(const FlashArgs& f, const DeviceSequence& sequence, const Seen& seen, int block_row, int head,
                       char* queries, const char* tiles, Barriers& barriers) {
  using S = Shape<kWidth>;
  constexpr int kTwo = 2 * kWarpgroup, kColumns = S::kSlices * 64;  // of which 96 leaves some unused
  const AttentionArgs& a = f.attention;
  const int group = int(threadIdx.x) / kWarpgroup, lane = int(threadIdx.x) % kWarp;
  const int warpgroup_row = block_row + group * 64;
  queries += group * S::kQuery;
  put_queries<kWidth, kBfloat>(a, sequence, warpgroup_row, head, queries);
  meet(kOfWarpgroup + group, kWarpgroup);
  Rowwise rows(a, sequence, warpgroup_row, seen.end);

  float scores[kKeys / 2], result[kColumns / 2];
  uint32_t weights[kKeys / 16][4];
  const auto wait_until_filled = [&](int tile, int which) {
    wait_for_phase(&barriers.filled[tile % kStages][which], unsigned(tile / kStages));
  };
  const auto leave = [&](int tile, int which) {
    if (lane == 0) arrive(&barriers.emptied[tile % kStages][which]);
  };
  const MatrixPlace query = matrix_of_slices(queries, 0);
  const auto start_scores = [&](int tile) {
    const MatrixPlace keys = matrix_of_slices(tiles + tile % kStages * 2 * S::kTile, 0);
#pragma unroll
    for (int k = 0; k < kWidth / 16; ++k)
      multiply_shared<kBfloat>(scores, query.further(k / 4 * 64 * kSliceBytes + k % 4 * 32),
                               keys.further(k / 4 * kKeys * kSliceBytes + k % 4 * 32), k > 0);
    warpgroup_end();
  };
  const auto start_results = [&](int tile) {
    const MatrixPlace values = matrix_of_slices(tiles + (tile % kStages * 2 + 1) * S::kTile, kKeys * kSliceBytes);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      multiply_across<kBfloat, kColumns>(result, weights[k], values.further(k * 16 * kSliceBytes), tile > 0 || k > 0);
    warpgroup_end();
  };
  const auto take_weights = [&] {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
#pragma unroll
      for (int j = 0; j < 4; ++j) weights[k][j] = pack<kBfloat>(scores[8 * k + 2 * j], scores[8 * k + 2 * j + 1]);
  };

  float factor[2];
  wait_until_filled(0, 0);
  warpgroup_fence();
  start_scores(0);
  warpgroup_wait<0>();
  hold<kKeys / 2>(scores);
  leave(0, 0);
  rows.weigh(a, head, seen.first_tile(), scores, factor);
  take_weights();
  if (group == S::kWarpgroups - 1 && seen.count > 1) announce(kTurn, kTwo);
  for (int i = 1; i < seen.count; ++i) {
    wait_until_filled(i, 0);
    wait_until_filled(i - 1, 1);
    meet(kTurn + group, kTwo);
    hold<kKeys / 2>(scores);
    hold<kColumns / 2>(result);
    warpgroup_fence();
    start_scores(i);
    start_results(i - 1);
    if (group + 1 < S::kWarpgroups || i + 1 < seen.count) announce(kTurn + (group + 1) % S::kWarpgroups, kTwo);
    warpgroup_wait<1>();
    hold<kKeys / 2>(scores);
    leave(i, 0);
    rows.weigh(a, head, seen.first_tile() + i * kKeys, scores, factor);
    warpgroup_wait<0>();
    hold<kColumns / 2>(result);
    leave(i - 1, 1);
    if (__any_sync(kAllLanes, factor[0] != 1 || factor[1] != 1)) {  // seldom behind the first tiles
#pragma unroll
      for (int k = 0; k < kColumns / 2; ++k) result[k] *= factor[k / 2 % 2];
    }
    take_weights();
  }
  wait_until_filled(seen.count - 1, 1);
  hold<kColumns / 2>(result);
  warpgroup_fence();
  start_results(seen.count - 1);
  warpgroup_wait<0>();
  hold<kColumns / 2>(result);
  for (int r = 0; r < 2; ++r) factor[r] = rows.last_factor(r, a.sinks ? a.sinks + head : nullptr);
  put_results<kWidth>(f, sequence, warpgroup_row, head, result, factor, queries);
}

#endif

template <int kWidth, bool kBfloat>
__global__ void __launch_bounds__(Shape<kWidth>::kThreads, 1)
    warpgroup_attention_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using S = Shape<kWidth>;
  extern __shared__ __align__(16) char memory[];
  __shared__ Barriers barriers;
  let_next_start();
  wait_for_previous();
  const FlashArgs& f = args.flash;
  const AttentionArgs& a = f.attention;
  const DeviceSequence sequence = a.sequences[blockIdx.z];
  const int head = int(blockIdx.y), block_row = (int(gridDim.x) - 1 - int(blockIdx.x)) * S::kRows;  // the longest first
  if (block_row >= sequence.rows) return;
  const Seen seen(a, sequence, block_row, S::kRows);
  constexpr int kAligned = 8 * kSliceBytes;
  char* queries = memory + (kAligned - shared_address(memory) % kAligned) % kAligned;
  char* tiles = queries + S::kWarpgroups * S::kQuery;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages * 2; ++i) {
      start_barrier(&barriers.filled[i / 2][i % 2], 1);
      start_barrier(&barriers.emptied[i / 2][i % 2], S::kMultiplying / kWarp);
    }
    start_barrier(&barriers.last, 1);
    publish_barriers();
  }
  __syncthreads();
  constexpr bool kThree = S::kWarpgroups == 3;
  if (threadIdx.x >= S::kMultiplying) {
    leave_registers<kThree ? 32 : 40>();
    const int warp = (int(threadIdx.x) - S::kMultiplying) / kWarp;
    if (warp < 2) bring<kWidth>(args, sequence, seen, head / (a.heads / a.kv_heads), warp, tiles, barriers);
  } else {
    take_registers<kThree ? 160 : 232>();
    attend<kWidth, kBfloat>(f, sequence, seen, block_row, head, queries, tiles, barriers);
  }
#endif
}

bool make_map(const Pages& pages, int kv_heads, CUtensorMap& map) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    (void)cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  if (encode == nullptr) return false;
  const cuuint64_t sizes[] = {cuuint64_t(pages.width), cuuint64_t(pages.page_tokens), cuuint64_t(kv_heads), 1u << 31};
  const cuuint64_t strides[] = {cuuint64_t(pages.token_stride) * 2, cuuint64_t(pages.head_stride) * 2,
                                cuuint64_t(pages.page_stride) * 2};
  const cuuint32_t box[] = {64, cuuint32_t(pages.page_tokens), 1, 1}, steps[] = {1, 1, 1, 1};
  return encode(&map, pages.format == Format::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                4, pages.data, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <int kWidth>
void launch_width(const Args& args, cudaStream_t stream) {
  const AttentionArgs& a = args.flash.attention;
  const dim3 grid(unsigned(divide_up(a.most_rows, Shape<kWidth>::kRows)), unsigned(a.heads),
                  unsigned(a.sequence_count));
  const auto kernel = a.keys.format == Format::kBF16 ? warpgroup_attention_kernel<kWidth, true>
                                                     : warpgroup_attention_kernel<kWidth, false>;
  launch_kernel(kernel, grid, dim3(Shape<kWidth>::kThreads), Shape<kWidth>::kShared, true, args, stream);
}

}  // namespace

bool can_flash_by_warpgroups(const AttentionArgs& a) {
  const auto fits = [&](const Pages& pages) {
    const int tokens = pages.page_tokens;
    return pages.format == a.keys.format && pages.width == a.keys.width && tokens == a.keys.page_tokens &&
           tokens % 8 == 0 && kKeys % tokens == 0 && pages.token_stride % 8 == 0 && pages.head_stride % 8 == 0 &&
           pages.page_stride % 8 == 0 && reinterpret_cast<uintptr_t>(pages.data) % 16 == 0;
  };
  const int width = a.keys.width;
  return (a.keys.format == Format::kF16 || a.keys.format == Format::kBF16) &&
         (width == 64 || width == 96 || width == 128) && fits(a.keys) && fits(a.values);
}

bool launch_by_warpgroups(const FlashArgs& flash, cudaStream_t stream) {
  Args args = {};
  args.flash = flash;
  const AttentionArgs& a = flash.attention;
  if (!make_map(a.keys, a.kv_heads, args.keys) || !make_map(a.values, a.kv_heads, args.values)) return false;
  switch (a.keys.width) {
    case 64:
      launch_width<64>(args, stream);
      break;
    case 96:
      launch_width<96>(args, stream);
      break;
    default:
      launch_width<128>(args, stream);
  }
  return true;
}

}  // namespace metallic::cuda
