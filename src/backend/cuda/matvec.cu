// Matrix times a few vectors, the work of decoding. A warp has eight rows of the weight, in two runs of four, and reads
// them 16 bytes a lane and row: 4 KB (and its scales) of each warp are under way while the piece before is used, and
// before the kernel waits for the one ahead of it. The warps of a block share rows along the columns where there are
// few rows. Layout: planes (planes.h) against activations of eight bits, or plain numbers against floats. Floor: the
// bytes of the weight. RMS norm folds in: the weight of the norm is multiplied in when a block makes its copy of x, the
// factor of the row once at the end. The epilogue does what would otherwise be a kernel of its own: bias, residual, the
// gate of a feed-forward network with its 8-bit codes, or rope and the write to the KV pages. Measured:
// docs/performance-cuda.md.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/matvec_output.cuh"

namespace metallic::cuda {
namespace {

constexpr int kLineLanes = 8;                                 // whose sixteen bytes are a line
constexpr int kNormFours = kWidestPrologue / (4 * kThreads);  // of a thread

// The weight of the norm to shared memory; every thread reads only what it has copied.
__device__ void copy_norm_weight(const MatvecArgs& args, float4* to) {
  if (args.norm.weight)
#pragma unroll 1
    for (int at = int(threadIdx.x) * 4; at < args.columns; at += kThreads * 4)
      copy_piece(to + at / 4, args.norm.weight + at, true);
  end_copies();
}

// x times the weight of the norm, for this block, in eight bits or as floats; squares[w]: of the elements of warp w.
template <class Row>
__device__ void make_input(const MatvecArgs& args, const float4* weight, char* to, float* squares) {
  const NormArgs& n = args.norm;
  const int lane = int(threadIdx.x) % kWarp;
  float4 x[kNormFours];
#pragma unroll
  for (int i = 0; i < kNormFours; ++i) {
    const int at = (int(threadIdx.x) + i * kThreads) * 4;
    x[i] = make_float4(0, 0, 0, 0);
    if (at < args.columns) x[i] = *reinterpret_cast<const float4*>(n.x.data + at);
  }
  wait_for_copies<0>();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kNormFours; ++i) {
    const int at = (int(threadIdx.x) + i * kThreads) * 4;
    if (at - lane * 4 >= args.columns) break;  // the same for all lanes of a warp
    const bool valid = at < args.columns;
    sum = fmaf(x[i].x, x[i].x, fmaf(x[i].y, x[i].y, fmaf(x[i].z, x[i].z, fmaf(x[i].w, x[i].w, sum))));
    const float4 w = n.weight && valid ? weight[at / 4] : make_float4(1, 1, 1, 1);
    const float values[4] = {x[i].x * w.x, x[i].y * w.y, x[i].z * w.z, x[i].w * w.w};
    if constexpr (Row::kPlanes)
      quantise_four(values, valid, at, reinterpret_cast<int8_t*>(to),
                    reinterpret_cast<ActivationGroup*>(to + args.columns));
    else if (valid)
      *reinterpret_cast<float4*>(to + at * 4) = make_float4(values[0], values[1], values[2], values[3]);
  }
  sum = warp_sum(sum);
  if (lane == 0) squares[threadIdx.x / kWarp] = sum;
  __syncthreads();
}

__device__ float norm_factor(const MatvecArgs& args, const float* squares) {
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += squares[w];
  return 1.0f / sqrtf(sum / float(args.columns) + args.norm.epsilon);
}

// What the norm by itself would have written; a block of its own does it.
__device__ void write_norm(const MatvecArgs& args, float* squares) {
  const NormArgs& n = args.norm;
  float sum = 0;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < args.columns; i += kThreads) sum = fmaf(n.x.data[i], n.x.data[i], sum);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) squares[threadIdx.x / kWarp] = sum;
  __syncthreads();
  const float factor = norm_factor(args, squares);
#pragma unroll 1
  for (int i = int(threadIdx.x); i < args.columns; i += kThreads)
    n.out.data[i] = n.x.data[i] * factor * (n.weight ? n.weight[i] : 1.0f);
}

// v of eight rows, summed over the lanes: lane l gets that of row l / 4.
__device__ float reduce_rows(const float* v) {
  const int lane = int(threadIdx.x) % kWarp;
  float four[4], two[2];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    four[i] = (lane & 16 ? v[4 + i] : v[i]) + __shfl_xor_sync(kAllLanes, lane & 16 ? v[i] : v[4 + i], 16);
#pragma unroll
  for (int i = 0; i < 2; ++i)
    two[i] = (lane & 8 ? four[2 + i] : four[i]) + __shfl_xor_sync(kAllLanes, lane & 8 ? four[i] : four[2 + i], 8);
  float one = (lane & 4 ? two[1] : two[0]) + __shfl_xor_sync(kAllLanes, lane & 4 ? two[0] : two[1], 4);
  one += __shfl_xor_sync(kAllLanes, one, 2);
  return one + __shfl_xor_sync(kAllLanes, one, 1);
}

// Blocks of a multiprocessor: what the registers allow without spilling.
template <class Row>
constexpr int blocks_for(int tokens, bool prologue) {
  if (Row::kPlanes) return tokens == 1 ? 2 : 1;
  return tokens > 4 ? 1 : tokens > 1 || prologue ? 2 : 3;
}

// Pieces that are asked for ahead (7B: one of eight bits, Q4_0 by pieces 0 to 3: 541, 545, 541, 540 tokens/s, and where
// blocks start early 550 with one, 556 with three).
template <class Row>
constexpr int kAsked = Row::kBits == 4 ? 3 : 1;

template <int kTokens>
struct Shared {
  float sums[2][kWarps][kTokens][kRows];
  float squares[kWarps];
};

// One loop in which a piece of the rows is used and the next one asked for, so that the code is small: each kernel of a
// step is new to the instruction caches. In the first turn there is nothing to use yet.
// kRest: a block has much to do, and there may be MatvecArgs::rest_tiles.
template <class Row, class Input, int kTokens, bool kPrologue, int kEpilogue, bool kRest = false>
__device__ void multiply(const MatvecArgs& a, Shared<kTokens>& shared) {
  extern __shared__ float4 memory[];  // kPrologue: the weight of the norm, and x
  let_next_start();
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int blocks = int(gridDim.x) - kPrologue;
  if (kPrologue && int(blockIdx.x) == blocks) {
    wait_for_previous();
    return write_norm(a, shared.squares);
  }
  const int units = a.columns / Row::kUnit, all_tiles = a.tiles + (kRest ? a.rest_tiles : 0);
  int tile = int(blockIdx.x), next_tile = tile, chunk = 0, next_chunk = 0, turn = 0;
  Division next = division_of<kRest>(a, units, tile), now = next;  // of the tiles that are read and used
  Cursor<Row> cursor;
  typename Row::Unit ahead[kRows];
  typename Input::Source source;
  Output mine;
  float partial[kTokens][kRows], residual_a = 0, residual_b = 0;
#pragma unroll 1
  for (bool first = true;; first = false) {
    if (!first) {
      const int unit = now.begin + chunk * kWarp + lane;
      Input input[kTokens];
#pragma unroll
      for (int token = 0; token < kTokens; ++token)
        input[token].load(a, source, kTokens == 1 ? 0 : min(token, a.tokens - 1), min(unit, now.end - 1),
                          unit < now.end);
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int token = 0; token < kTokens; ++token) partial[token][r] += input[token].dot(ahead[r]);
    }
    if (next_tile < all_tiles) {
      if (next_chunk == 0) {
        if (kRest && next_tile >= a.tiles) next = division_of<kRest>(a, units, next_tile);
        cursor.set(a, rows_of_tile<kEpilogue, kRest>(a, next_tile, next.group()));
      }
      const int unit = min(next.begin + next_chunk * kWarp + lane, next.end - 1);
#pragma unroll
      for (int r = 0; r < kRows; ++r) ahead[r] = cursor.load(r, unit);
      if (++next_chunk == next.chunks) {
        next_chunk = 0;
        next_tile += blocks;
      }
    }
    if (!first) {
      if (++chunk < now.chunks) continue;
#pragma unroll
      for (int token = 0; token < kTokens; ++token) {
        const float sum = reduce_rows(partial[token]);
        if (lane % 4 == 0) shared.sums[turn % 2][warp][token][lane / 4] = sum;
      }
      __syncthreads();
      const int pairs_bit = 5 - now.part_bits;
      if (int(threadIdx.x) / kWarp * kWarp < a.tokens << pairs_bit) {  // whole warps
        const int token = int(threadIdx.x) >> pairs_bit, pair = int(threadIdx.x) & ((1 << pairs_bit) - 1);
        const float* from = shared.sums[turn % 2][pair / kRun << now.part_bits][min(token, kTokens - 1)];
        float one = 0, two = 0;
#pragma unroll
        for (int k = 0; k < kWarps; ++k)
          if (k < 1 << now.part_bits) {
            one += from[k * kTokens * kRows + pair % kRun];
            two += from[k * kTokens * kRows + kRun + pair % kRun];
          }
        if constexpr (kPrologue) {
          const float factor = norm_factor(a, shared.squares);
          one *= factor;
          two *= factor;
        }
        finish<kEpilogue, kRest>(a, mine, tile, one, two, residual_a, residual_b);
      }
      tile += blocks;
      if (tile >= all_tiles) return;
      if constexpr (kRest) now = next;  // its first piece has been asked for
      chunk = 0;
      ++turn;
    }
    if (kPrologue && first) {
      copy_norm_weight(a, memory);
      // While the input is made, memory has time for more than registers have room for.
      if (kRest && next_chunk > 0 && lane % kLineLanes == 0)
#pragma unroll 1
        for (int i = 0, unit = next.begin + kWarp + lane; i < kAsked<Row> && unit < next.end; ++i, unit += kWarp)
#pragma unroll
          for (int r = 0; r < kRows; ++r) cursor.ask(r, unit);
    }
    mine = prepare<kEpilogue, kRest>(a, tile, now.part_bits);
    if (first) {
      wait_for_previous();
      if constexpr (kPrologue) {
        char* const x = reinterpret_cast<char*>(memory + a.columns / 4);
        make_input<Row>(a, memory, x, shared.squares);
        if constexpr (Row::kPlanes)
          source = {reinterpret_cast<const int8_t*>(x), reinterpret_cast<const ActivationGroup*>(x + a.columns)};
        else
          source = {reinterpret_cast<const float*>(x), 0};
      } else if constexpr (Row::kPlanes) {
        source = {a.x.codes, static_cast<const ActivationGroup*>(a.x.groups)};
      } else {
        source = {a.floats.data, a.floats.stride};
      }
    }
#pragma unroll
    for (int token = 0; token < kTokens; ++token)
#pragma unroll
      for (int r = 0; r < kRows; ++r) partial[token][r] = 0;
    if (is_epilogue<kEpilogue>(a, Epilogue::kPlain) && a.targets[0].residual && mine.token >= 0) {
      // Read now, added at the end.
      const float* residual = a.targets[0].residual + mine.token * a.targets[0].residual_stride;
      residual_a = residual[mine.a];
      if (mine.b >= 0) residual_b = residual[mine.b];
    }
  }
}

template <class Row, class Input, int kTokens, bool kPrologue, int kEpilogue, bool kRest = false>
__global__ void __launch_bounds__(kThreads, blocks_for<Row>(kTokens, kPrologue))
    matvec_kernel(const __grid_constant__ MatvecArgs a) {
  __shared__ Shared<kTokens> shared;
  multiply<Row, Input, kTokens, kPrologue, kEpilogue, kRest>(a, shared);
}

// Targets in planes of two formats, as the mixes of a file have for queries, keys and values: one token, with the norm,
// a tile for each block.
template <class P, class Q>
__global__ void __launch_bounds__(kThreads, 2) mixed_kernel(const __grid_constant__ MatvecArgs a) {
  static_assert(P::kUnit == Q::kUnit);
  __shared__ Shared<1> shared;
  int t = 0;
  while (t + 1 < a.count && int(blockIdx.x) >= a.targets[t + 1].first_tile) ++t;
  if (a.targets[t].weight.format == P::kFormat)
    multiply<PlaneRow<P>, PlaneInput<P>, 1, true, int(Epilogue::kAttention)>(a, shared);
  else
    multiply<PlaneRow<Q>, PlaneInput<Q>, 1, true, int(Epilogue::kAttention)>(a, shared);
}

constexpr int kMultiprocessors = 132;
// A small kernel is sooner there, a large one pays where a tile has more pieces (Qwen2.5-0.5B, two: 2 % slower).
constexpr int kFewChunks = 2;

// With one block a multiprocessor, those of the kernel behind start early and ask for their weights. That is worth a
// way of a block twice as long if it is short: so many bits of a row for each lane (7B: two pieces of four bits 2 %
// faster, of six bits 1 % slower, four of eight 2 %).
constexpr int64_t kShortWay = 2 * 128;

struct Unit {
  int weights, bits;  // and of each weight
};

int tiles_of(const MatvecArgs& a, int t, int bits) {
  const int group = a.epilogue == Epilogue::kGated ? kRun : kRows;
  return int(divide_up(divide_up(a.targets[t].weight.rows, group), kWarps >> bits));
}

// Of a row that 1 << bits warps share.
int chunks_of(int units, int bits) { return int(divide_up(divide_up(units, 1 << bits), kWarp)); }

// Where not all blocks would have as many tiles: the last ones as smaller tiles of which all have as many.
void divide_rest(MatvecArgs& a, int units, int most) {
  const int rest = a.tiles % most, whole = a.tiles - rest;
  if (rest == 0 || rest > kMostGroups || (a.to.codes != nullptr && a.arrived == nullptr)) return;
  constexpr int kEnd = 1;  // of a tile: as long as one of its chunks
  int64_t least = a.chunks + kEnd;
  for (int bits = 1; 1 << bits <= kWarps; ++bits) {
    const int chunks = chunks_of(units, bits);
    const int64_t each = divide_up(rest << bits, most);
    if (each * (chunks + kEnd) >= least) continue;
    least = each * (chunks + kEnd);
    a.tiles = whole;
    a.rest_bits = bits;
    a.rest_tiles = rest << bits;
    a.rest_chunks = chunks;
  }
}

// Fills in how many warps share rows and what a block does, and says how many blocks there are, at most `most` where a
// block may have several tiles. Rows are shared by as many warps as make the way of a block the shortest.
unsigned divide(MatvecArgs& a, const Unit& unit, int most, bool several, bool rest) {
  if (a.has_norm) --most;  // one writes what the norm by itself would have
  const int units = a.columns / unit.weights;
  const int targets = a.epilogue == Epilogue::kGated ? 1 : a.count;
  const auto tiles = [&](int bits) {
    int sum = 0;
    for (int t = 0; t < targets; ++t) sum += tiles_of(a, t, bits);
    return sum;
  };
  const auto pieces = [&](int bits) { return divide_up(tiles(bits), most) * chunks_of(units, bits); };
  a.part_bits = 0;
  if (a.to.codes == nullptr)  // else a warp of outputs is a group
    for (int bits = 1; 1 << bits <= kWarps; ++bits)
      if (pieces(bits) < pieces(a.part_bits)) a.part_bits = bits;
  if (several && a.tokens == 1 && a.before_gate && a.part_bits > 0 && tiles(a.part_bits) > kMultiprocessors) {
    const int half = a.part_bits - 1;
    if (tiles(half) <= kMultiprocessors && int64_t(chunks_of(units, half)) * unit.weights * unit.bits <= kShortWay)
      a.part_bits = half;
  }
  a.tiles = tiles(a.part_bits);
  a.chunks = chunks_of(units, a.part_bits);
  if (rest && a.part_bits == 0) divide_rest(a, units, most);
  for (int t = 0, first = 0; t < targets; ++t) {
    a.targets[t].first_tile = first;
    first += tiles_of(a, t, a.part_bits);
  }
  return unsigned((several ? std::min(a.tiles + a.rest_tiles, most) : a.tiles) + (a.has_norm ? 1 : 0));
}

// The weight of the norm and x, in a block.
size_t input_bytes(const MatvecArgs& a, bool planes) {
  if (!a.has_norm) return 0;
  return size_t(a.columns) * 4 + (planes ? size_t(a.columns) / 32 * 40 : size_t(a.columns) * 4);
}

template <class Row, class Input>
void launch_rows(const MatvecArgs& planned, cudaStream_t stream) {
  MatvecArgs a = planned;
  const int most = kMultiprocessors * blocks_for<Row>(a.tokens, a.has_norm);
  const bool gated = a.has_norm && a.epilogue == Epilogue::kGated;
  const dim3 grid(divide(a, {Row::kUnit, Row::kBits}, most, true, gated && Row::kPlanes));
  const auto run = [&](auto kernel) {
    launch_kernel(kernel, grid, dim3(kThreads), input_bytes(a, Row::kPlanes), a.dependent != 0, a, stream);
  };
  if (a.tokens > 4) return run(matvec_kernel<Row, Input, kMostTokens, false, kAnyEpilogue>);
  if (a.has_norm) {
    if (a.epilogue == Epilogue::kAttention) return run(matvec_kernel<Row, Input, 1, true, int(Epilogue::kAttention)>);
    if constexpr (Row::kPlanes)
      if (gated && (a.rest_tiles > 0 || a.chunks > kFewChunks))
        return run(matvec_kernel<Row, Input, 1, true, int(Epilogue::kGated), true>);
    if (gated) return run(matvec_kernel<Row, Input, 1, true, int(Epilogue::kGated)>);
    return run(matvec_kernel<Row, Input, 1, true, int(Epilogue::kPlain)>);
  }
  if (a.tokens == 1 && a.epilogue == Epilogue::kPlain)
    return run(matvec_kernel<Row, Input, 1, false, int(Epilogue::kPlain)>);
  run(matvec_kernel<Row, Input, 4, false, kAnyEpilogue>);
}

template <class Number>
void launch_floats(const MatvecArgs& a, cudaStream_t stream) {
  launch_rows<FloatRow<Number>, FloatInput<Number>>(a, stream);
}

}  // namespace

void launch(const MatvecArgs& a, cudaStream_t stream) {
  if (a.count == 0 || a.tokens == 0) return;
  const WeightRef& weight = a.targets[0].weight;
  if (weight.layout == Layout::kPlanes)
    visit_planes(weight.format, [&]<class P>(P) { launch_rows<PlaneRow<P>, PlaneInput<P>>(a, stream); });
  else if (weight.format == Format::kF32)
    launch_floats<Float32>(a, stream);
  else if (weight.format == Format::kF16)
    launch_floats<Float16>(a, stream);
  else if (weight.format == Format::kBF16)
    launch_floats<BFloat16>(a, stream);
}

bool can_mix(Format a, Format b) { return b == Format::kQ6_K && (a == Format::kQ4_K || a == Format::kQ5_K); }

void launch_mixed(const MatvecArgs& planned, cudaStream_t stream) {
  MatvecArgs a = planned;
  const dim3 grid(divide(a, {PlanesQ6_K::kUnit, PlanesQ6_K::kBits}, 2 * kMultiprocessors, false, false));
  const auto run = [&](auto kernel) {
    launch_kernel(kernel, grid, dim3(kThreads), input_bytes(a, true), a.dependent != 0, a, stream);
  };
  const auto has = [&](Format format) {
    return std::any_of(a.targets, a.targets + a.count,
                       [&](const MatvecArgs::Target& target) { return target.weight.format == format; });
  };
  if (has(Format::kQ4_K))
    run(mixed_kernel<PlanesQ4_K, PlanesQ6_K>);
  else
    run(mixed_kernel<PlanesQ5_K, PlanesQ6_K>);
}

bool has_matvec(const WeightRef& weight) {
  if (weight.rows == 0) return false;
  if (weight.layout == Layout::kPlanes) return true;
  const bool plain = weight.format == Format::kF32 || weight.format == Format::kF16 || weight.format == Format::kBF16;
  return plain && weight.row_bytes % 16 == 0 && weight.columns > 0 &&
         reinterpret_cast<uintptr_t>(weight.codes) % 16 == 0;
}

}  // namespace metallic::cuda
