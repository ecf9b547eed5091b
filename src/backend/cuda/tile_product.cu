// Products of quantised weights with 9 to a few hundred tokens on the tensor cores; the weights are read once for up to
// 64 tokens. Layout: planes (planes.h), of which each lane loads whole groups of 32 weights straight into registers:
// the four lanes of a fragment row take four neighbouring groups, so a lane's scale is its own, and which 16 columns
// one instruction multiplies is decided by which words are unpacked. Weights become bfloat16 with the code's middle
// taken off first, so that rounding the scale costs no more than rounding the weight. Activations come as fragments
// (wide.h) through shared memory, a chunk of 128 columns at a time. A block has 128 rows of the weight; rows times
// chunks are dealt out evenly, and whoever is the last at a tile that several blocks share adds the parts in order.
// Floor: the bytes of the weights; 2 * rows * columns * tokens operations.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/tile_product.cuh"

namespace metallic::cuda {
namespace {

constexpr int kStages = 4;                 // chunks of activations under way
constexpr int kSumStride = kTileRows + 4;  // floats from one token's sums to the next's
constexpr int kLeastChunks = 6;            // for a block

template <class P, int kTokens>
struct Shape {
  static constexpr int kTokenTiles = kTokens / 8;
  static constexpr int kRowTiles = kTokens <= 16 ? 1 : 2;  // of 16 rows, for a warp
  static constexpr int kWarps = kTileRows / 16 / kRowTiles, kThreads = kWarps * kWarp;
  static constexpr int kRows = 2 * kRowTiles;                                     // of a lane
  static constexpr int kUnits = P::kBits == 8 ? 2 : 1;                            // of a lane, in a row and a chunk
  static constexpr int kAhead = kTokens > 16 ? 2 / kUnits : kUnits == 2 ? 2 : 3;  // chunks, as registers allow
  static constexpr int kVectors = kTokenTiles * 128;  // of 16 bytes, of activations in a chunk
  static constexpr size_t kShared = size_t(kStages) * kVectors * 16 + size_t(kTokens) * kSumStride * sizeof(float);
};

// Eight outputs of a token, from row `row` of the target on.
__device__ void finish_plain(const TileProductArgs::Target& target, int token, int row, float* values) {
  const int count = min(8, target.weight.rows - row);
  const bool aligned = count == 8 && row % 4 == 0;
  const auto fits = [&](const float* at, int64_t stride) {
    return aligned && stride % 4 == 0 && reinterpret_cast<uintptr_t>(at) % 16 == 0;
  };
  if (target.bias)
    for (int i = 0; i < count; ++i) values[i] += target.bias[row + i];
  if (target.out.data) {
    float* out = target.out.data + token * target.out.stride + row;
    if (target.accumulate)
      for (int i = 0; i < count; ++i) values[i] += out[i];
    if (fits(target.out.data, target.out.stride))
      store_eight(values, true, out);
    else
      for (int i = 0; i < count; ++i) out[i] = values[i];
  }
  if (target.residual) {
    float* out = target.residual + token * target.residual_stride + row;
    if (fits(target.residual, target.residual_stride)) {
      float before[8];
      load_eight(out, true, before);
      for (int i = 0; i < 8; ++i) before[i] += values[i];
      store_eight(before, true, out);
    } else {
      for (int i = 0; i < count; ++i) out[i] += values[i];
    }
  }
}

__device__ void finish_gated(const TileProductArgs& a, int token, int row, float* gate, float* up) {
  const TileProductArgs::Target &first = a.targets[0], &second = a.targets[1];
  const int rows = first.weight.rows;
  for (int i = 0; i < 8; ++i) {
    const bool valid = row + i < rows;
    if (valid && first.bias) gate[i] += first.bias[row + i];
    if (valid && second.bias) up[i] += second.bias[row + i];
    if (valid && second.out.data) second.out.data[token * second.out.stride + row + i] = up[i];
    gate[i] = valid ? gate_of(a.activation, gate[i], up[i], a.clamp) : 0.0f;
    if (valid && first.out.data) first.out.data[token * first.out.stride + row + i] = gate[i];
  }
  if (a.to.data && row < (rows + kChunk - 1) / kChunk * kChunk)
    store_eight_of(a.to, token, row, rows, eight_bits_of(gate, false));
}

// A tile that is summed up, by all threads. `add` gives eight sums of a token from a row of the tile on.
template <int kTokens, int kThreads, class Add>
__device__ void finish_tile(const TileProductArgs& a, int tile, int first_token, const Add& add) {
  const TilePlace place = place_of(a, tile);
  const int pieces = (a.gated ? kGatedRows : kTileRows) / 8;
  for (int item = int(threadIdx.x); item < kTokens * pieces; item += kThreads) {
    const int token = item / pieces, row = item % pieces * 8;
    if (first_token + token >= a.tokens) break;
    float values[8] = {};
    add(token, row, values);
    if (a.gated) {
      float up[8] = {};
      add(token, row + kGatedRows, up);
      finish_gated(a, first_token + token, place.row + row, values, up);
    } else if (place.row + row < a.targets[place.target].weight.rows) {
      finish_plain(a.targets[place.target], first_token + token, place.row + row, values);
    }
  }
}

template <class P, int kTokens>
__global__ void __launch_bounds__(Shape<P, kTokens>::kThreads, kTokens == 32 ? 3 : 2)
    tile_product_kernel(const __grid_constant__ TileProductArgs a) {
  using S = Shape<P, kTokens>;
  extern __shared__ uint4 memory[];
  __shared__ int last;
  float* sums = reinterpret_cast<float*>(memory + kStages * S::kVectors);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int chunks = (a.columns + kChunk - 1) / kChunk, groups = a.columns / 32;
  const int64_t total = int64_t(a.tiles) * chunks;
  const int begin = share(total, int(blockIdx.x)), end = share(total, int(blockIdx.x) + 1);
  const int first_token = int(blockIdx.y) * kTokens;
  let_next_start();

  // Weights of this lane, some chunks ahead.
  LaneGroup<P, S::kUnits> ahead[S::kAhead][S::kRows];
  PlaneReader<P> reader(a.targets[0].weight, 0);  // rows follow one another without a gap
  int row_groups[S::kRows];                       // the first group of each row
  const auto enter_tile = [&](int tile) {
    const TilePlace place = place_of(a, tile);
    const int in_tile = warp * 16 * S::kRowTiles;
    const bool second = a.gated && in_tile >= kGatedRows;
    const WeightRef& weight = a.targets[second ? 1 : place.target].weight;
    reader = PlaneReader<P>(weight, 0);
    for (int r = 0; r < S::kRows; ++r) {
      const int row = place.row + in_tile - (second ? kGatedRows : 0) + r * 8 + lane / 4;
      row_groups[r] = min(row, weight.rows - 1) * groups;
    }
  };
  const auto load = [&](LaneGroup<P, S::kUnits>* to, int chunk) {
    const int group = min(chunk * 4 + lane % 4, groups - 1);  // what is too much is multiplied by zeros
#pragma unroll
    for (int r = 0; r < S::kRows; ++r)
#pragma unroll
      for (int u = 0; u < S::kUnits; ++u) to[r].units[u] = reader.load((row_groups[r] + group) * S::kUnits + u);
  };
  const auto start = [&](int at) {  // the loads of a tile, from number `at` of all chunks
    const int chunk = at % chunks, count = min(chunks - chunk, end - at);
    enter_tile(at / chunks);
#pragma unroll
    for (int i = 0; i < S::kAhead; ++i)
      if (i < count) load(ahead[i], chunk + i);
  };
  // Activations: the next chunk to its place.
  const int64_t chunk_vectors = int64_t(a.token_tiles) * 128;
  const auto* x_first = static_cast<const uint4*>(a.x) + blockIdx.y * S::kTokenTiles * 128 + threadIdx.x;
  // Of rows of fragments, those of tokens that there are.
  const int there = a.tokens - first_token - int(threadIdx.x) / 128 * 8 - int(threadIdx.x) % 8;
  int next = begin, next_chunk = begin % chunks;
  const uint4* from = x_first + next_chunk * chunk_vectors;
  const auto fetch = [&] {
    if (next < end) {
      uint4* to = memory + unsigned(next - begin) % kStages * S::kVectors + threadIdx.x;
#pragma unroll
      for (int i = 0; i < S::kVectors; i += S::kThreads) copy_piece(to + i, from + i, i / 128 * 8 < there);
      ++next;
      from += chunk_vectors;
      if (++next_chunk == chunks) {
        next_chunk = 0;
        from = x_first;
      }
    }
    end_copies();
  };

  if (begin < end) start(begin);
  wait_for_previous();
  for (int i = 0; i < kStages - 1; ++i) fetch();

  for (int at = begin; at < end;) {
    const int tile = at / chunks, chunk = at % chunks, count = min(chunks - chunk, end - at);
    float c[S::kRowTiles][S::kTokenTiles][4] = {};
    for (int base = 0; base < count; base += S::kAhead) {
#pragma unroll
      for (int i = 0; i < S::kAhead; ++i) {
        const int now = base + i;
        if (now >= count) break;
        wait_for_copies<kStages - 2>();
        __syncthreads();
        fetch();
        const uint4* x = memory + unsigned(at + now - begin) % kStages * S::kVectors + lane;
#pragma unroll
        for (int p = 0; p < 4; ++p) {
          uint32_t w[S::kRows][4];
#pragma unroll
          for (int r = 0; r < S::kRows; ++r) ahead[i][r].weights(p, w[r]);
#pragma unroll
          for (int n = 0; n < S::kTokenTiles; ++n) {
            uint32_t b[4];
            load_matrices(b, x + (n * 4 + p) * kWarp);
#pragma unroll
            for (int m = 0; m < S::kRowTiles; ++m) {
              const uint32_t low[4] = {w[2 * m][0], w[2 * m + 1][0], w[2 * m][1], w[2 * m + 1][1]};
              const uint32_t high[4] = {w[2 * m][2], w[2 * m + 1][2], w[2 * m][3], w[2 * m + 1][3]};
              multiply_bf16(c[m][n], low, b[0], b[1]);
              multiply_bf16(c[m][n], high, b[2], b[3]);
            }
          }
        }
        if (now + S::kAhead < count) load(ahead[i], chunk + now + S::kAhead);
      }
    }
    if (at + count < end) start(at + count);  // is under way while this tile is finished

    float* mine = sums + warp * 16 * S::kRowTiles + lane / 4;
#pragma unroll
    for (int m = 0; m < S::kRowTiles; ++m)
#pragma unroll
      for (int n = 0; n < S::kTokenTiles; ++n)
#pragma unroll
        for (int k = 0; k < 4; ++k) mine[(n * 8 + lane % 4 * 2 + k % 2) * kSumStride + m * 16 + k / 2 * 8] = c[m][n][k];
    __syncthreads();
    if (count == chunks) {
      finish_tile<kTokens, S::kThreads>(a, tile, first_token, [&](int token, int row, float* values) {
        load_eight(sums + token * kSumStride + row, true, values);
      });
    } else {
      constexpr int kPart = kTokens * kTileRows;
      const SharedTile shared_tile(total, tile, chunks);
      float* parts = a.partial + int64_t(blockIdx.y) * gridDim.x * 2 * kPart;
      float* part = parts + shared_tile.part_of(int(blockIdx.x)) * kPart;
      for (int i = int(threadIdx.x) * 4; i < kPart; i += S::kThreads * 4)
        *reinterpret_cast<float4*>(part + i) =
            *reinterpret_cast<const float4*>(sums + i / kTileRows * kSumStride + i % kTileRows);
      if (shared_tile.is_complete(a.arrived + blockIdx.y * a.tiles + tile, &last)) {
        finish_tile<kTokens, S::kThreads>(a, tile, first_token, [&](int token, int row, float* values) {
          constexpr int kAtOnce = 4;  // loads under way
          for (int block = shared_tile.first_block; block <= shared_tile.last_block; block += kAtOnce) {
            float4 v[kAtOnce][2] = {};
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i) {
              if (block + i > shared_tile.last_block) break;
              const float* other = parts + shared_tile.part_of(block + i) * kPart;
              const auto* at_row = reinterpret_cast<const float4*>(other + token * kTileRows + row);
              v[i][0] = __ldcg(at_row);
              v[i][1] = __ldcg(at_row + 1);
            }
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
              for (int k = 0; k < 2; ++k) {
                values[4 * k] += v[i][k].x, values[4 * k + 1] += v[i][k].y;
                values[4 * k + 2] += v[i][k].z, values[4 * k + 3] += v[i][k].w;
              }
          }
        });
      }
    }
    at += count;
  }
}

int block_tokens(int tokens, bool warpgroups) {
  const int most = warpgroups ? kMostWarpgroupTokens : kMostTileTokens;
  int block = 16;
  while (block < std::min(tokens, most)) block *= 2;
  return block;
}

TileKernel warp_kernel(Format format, int tokens) {
  TileKernel result = {};
  visit_planes(format, [&]<class P>(P) {
    const auto set = [&]<int kTokens>(std::integral_constant<int, kTokens>) {
      using S = Shape<P, kTokens>;
      result = {tile_product_kernel<P, kTokens>, S::kThreads, S::kShared, kLeastChunks};
    };
    tokens <= 16   ? set(std::integral_constant<int, 16>{})
    : tokens <= 32 ? set(std::integral_constant<int, 32>{})
                   : set(std::integral_constant<int, kMostTileTokens>{});
  });
  return result;
}

TileKernel kernel_for(const TileProductArgs& a) {
  const int tokens = block_tokens(a.tokens, a.warpgroups != 0);
  const Format format = a.targets[0].weight.format;
  return a.warpgroups ? warpgroup_kernel(format, tokens) : warp_kernel(format, tokens);
}

// As many blocks as the GPU holds at a time, or as there is work for.
dim3 grid_of(const TileProductArgs& a, const TileKernel& kernel) {
  int device = 0, processors = 1, each = 1;
  (void)cudaGetDevice(&device);
  (void)cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  (void)cudaFuncSetAttribute(kernel.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(kernel.shared));
  (void)cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, reinterpret_cast<const void*>(kernel.kernel),
                                                      kernel.threads, kernel.shared);
  const int64_t pieces = a.token_tiles * 8 / block_tokens(a.tokens, a.warpgroups != 0);
  const int64_t most = std::min<int64_t>(int64_t(processors) * std::max(each, 1), kMostTileBlocks);
  const int64_t work = int64_t(a.tiles) * chunks_of(a.columns) / kernel.least_chunks;
  return dim3(unsigned(std::max<int64_t>(1, std::min(most / pieces, work))), unsigned(pieces));
}

}  // namespace

int token_tiles(int tokens, bool warpgroups) {
  const int block = block_tokens(tokens, warpgroups);
  return int(divide_up(tokens, block)) * block / 8;
}

int64_t tile_partials(const TileProductArgs& a) {
  return int64_t(grid_of(a, kernel_for(a)).x) * 2 * kTileRows * a.token_tiles * 8;
}

int64_t tile_counters(const TileProductArgs& a) {
  return int64_t(a.tiles) * a.token_tiles * 8 / block_tokens(a.tokens, a.warpgroups != 0);
}

void launch(const TileProductArgs& a, cudaStream_t stream) {
  if (a.tiles == 0 || a.tokens == 0) return;
  const TileKernel kernel = kernel_for(a);
  launch_kernel(kernel.kernel, grid_of(a, kernel), dim3(unsigned(kernel.threads)), kernel.shared, a.dependent != 0, a,
                stream);
}

}  // namespace metallic::cuda
