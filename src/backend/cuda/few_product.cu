// Products of quantised weights with 5 to 16 tokens, the work of decoding a few sequences, on the tensor cores: eight
// rows of the weight are the columns of an instruction, the tokens its rows, a group of 32 weights its depth, so that a
// sum of integers is multiplied by the scales of a group and added up in float32, as in matvec.cu. Layout: planes
// (planes.h) against activations of eight bits, which a block has in shared memory as a whole: where they do not fit,
// blocks share the columns, and the last to end puts the parts together. A warp has pieces of eight rows by eight
// groups one after the other, copied to shared memory of its own several pieces ahead, also before the wait for the
// kernel ahead and across the ends of rows; the pieces of a block are shared evenly among its warps, also within rows.
// Floor: the bytes of the weight. Measured: docs/performance-cuda.md.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/matvec_output.cuh"
#include "backend/cuda/tensor_core.cuh"

namespace metallic::cuda {
namespace {

constexpr int kFewWarps = 16, kFewThreads = kFewWarps * kWarp;
constexpr int kGroups = 8, kPieceColumns = kGroups * 32;  // of a piece
constexpr int kSliceBytes = kRows * 128;                  // codes of eight rows, 128 bytes of each
// Sums begin here: as the bits of a float, such an integer is that float's value too.
constexpr int kStart = 0x4b400000;
constexpr float kStartValue = 12582912.0f;

// A piece of the weight in shared memory: codes in slices, their parts of 16 bytes swizzled; then, by rows, the rest.
template <class P>
struct Piece {
  static constexpr int kSlices = P::kCodeBytes / 16, kCodes = kSlices * kSliceBytes;
  static constexpr int kHigh = kRows * kGroups * P::kHighBytes, kScales = kRows * kGroups * P::kScaleBytes;
  static constexpr int kSupers = P::kSuperBytes > 0 ? kRows * 4 : 0;
  static constexpr int kHighAt = kCodes, kScalesAt = kHighAt + kHigh, kSupersAt = kScalesAt + kScales;
  static constexpr int kBytes = kSupersAt + kSupers;
  static constexpr int kStages = 8704 / kBytes < 8 ? 8704 / kBytes : 8;
  // Factors of a group of a row, as floats: scale; scale and offset; or the scales of both halves.
  static constexpr int kFactors = P::kScale == ScaleKind::kHalf ? 1 : 2;
  static constexpr bool kOffsets = P::kScale == ScaleKind::kHalfPair || P::kScale == ScaleKind::kSuper;
  static constexpr int kOfWarp = kStages * kBytes + kRows * kGroups * kFactors * 4;
};

// Activations of a block in shared memory: codes (kTokens, columns) and groups, rows in different banks.
struct InputPlace {
  int code_stride, group_stride;  // bytes
  __host__ __device__ explicit InputPlace(int pieces)
      : code_stride(pieces * kPieceColumns + 16), group_stride(pieces * kPieceColumns / 4 + 16) {}
  __host__ __device__ int bytes(int tokens) const { return tokens * (code_stride + group_stride); }
};

__device__ void copy_eight(void* to, const void* from, bool there) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(uint32_t(__cvta_generic_to_shared(to))), "l"(from),
               "r"(there ? 8 : 0)
               : "memory");
}

// The rows of tile `tile`, and the weight and row that are column `n` of a product: the runs take turns, so that a lane
// has a pair of rows that belong together.
__device__ RowGroup rows_of(const MatvecArgs& a, int tile) {
  int t = 0;
  if (a.epilogue != Epilogue::kGated)
    for (int i = 1; i < LinearArgs::kTargets; ++i) t += i < a.count && tile >= a.targets[i].first_tile;
  return rows_of_group<kAnyEpilogue>(a, t, tile - a.targets[t].first_tile);
}
struct Column {
  const WeightRef* weight;
  int row;
};
__device__ Column column_of(const MatvecArgs& a, const RowGroup& rows, int n) {
  const bool second = n % 2 != 0;
  const WeightRef& weight = a.targets[second ? rows.second_target : rows.target].weight;
  return {&weight, min((second ? rows.b : rows.a) + (n / 2 << rows.step_bit), weight.rows - 1)};
}

// What a lane copies of the rows of a tile.
template <class P>
struct LaneRows {
  const char* codes[2];                 // of columns lane / 8 and four further
  const char *high, *scales, *supers;  // of column lane / 4

  __device__ void enter(const MatvecArgs& a, int tile) {
    const int lane = int(threadIdx.x) % kWarp, groups = a.columns / 32;
    const RowGroup rows = rows_of(a, tile);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const Column column = column_of(a, rows, lane / 8 + 4 * i);
      codes[i] = static_cast<const char*>(column.weight->codes) + int64_t(column.row) * groups * P::kCodeBytes;
    }
    const Column column = column_of(a, rows, lane / 4);
    const int64_t first = int64_t(column.row) * groups;
    high = static_cast<const char*>(column.weight->high) + first * P::kHighBytes;
    scales = static_cast<const char*>(column.weight->scales) + first * P::kScaleBytes;
    supers = static_cast<const char*>(column.weight->supers) + first / 8 * P::kSuperBytes;
  }

  // Piece `piece` of the rows; zeros behind the last group.
  __device__ void fetch(int piece, int groups, char* to) const {
    using S = Piece<P>;
    const int lane = int(threadIdx.x) % kWarp, row = lane / 4, part = lane % 4, left = groups - piece * kGroups;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int slice = 0; slice < S::kSlices; ++slice) {
        const int n = lane / 8 + 4 * i, at = slice * 8 + lane % 8;
        const bool there = at / S::kSlices < left;
        copy_piece(to + slice * kSliceBytes + n * 128 + ((lane % 8 ^ n) << 4),
                   codes[i] + (there ? int64_t(piece) * kGroups * P::kCodeBytes + at * 16 : 0), there);
      }
    const bool pair = 2 * part < left, four = 4 * part < left;
    const int64_t group = int64_t(piece) * kGroups;
    if constexpr (P::kHighBytes == 4)
      copy_eight(to + S::kHighAt + row * 32 + part * 8, high + (pair ? (group + 2 * part) * 4 : 0), pair);
    if constexpr (P::kHighBytes == 8)
      copy_piece(to + S::kHighAt + row * 64 + part * 16, high + (pair ? (group + 2 * part) * 8 : 0), pair);
    if constexpr (P::kScaleBytes == 4)
      copy_eight(to + S::kScalesAt + row * 32 + part * 8, scales + (pair ? (group + 2 * part) * 4 : 0), pair);
    else if (part < 2)
      copy_eight(to + S::kScalesAt + row * 16 + part * 8, scales + (four ? (group + 4 * part) * 2 : 0), four);
    if constexpr (P::kSuperBytes > 0)
      if (part == 2) copy_word(to + S::kSupersAt + row * 4, word_of(supers + piece * P::kSuperBytes));
  }
};

// The factors of a piece, (kGroups, kRows) times kFactors; `odd`: supers of two bytes are the second of their word.
template <class P>
__device__ void make_factors(const char* piece, bool odd, float* to) {
  using S = Piece<P>;
  const int lane = int(threadIdx.x) % kWarp, row = lane / 4, part = lane % 4;
  // Codes with a middle are moved up to eight bits with a sign.
  constexpr float kDown = P::kZero > 0 ? 1.0f / float(1 << (8 - P::kBits)) : 1.0f;
  const auto word = [&](int at) { return *reinterpret_cast<const uint32_t*>(piece + at); };
  const uint32_t super = S::kSupers > 0 ? word(S::kSupersAt + row * 4) : 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int group = 2 * part + i, at = group * kRows + row;
    if constexpr (P::kScaleBytes == 4) {
      const uint32_t both = word(S::kScalesAt + row * 32 + group * 4);
      reinterpret_cast<float2*>(to)[at] = make_float2(half_bits(both & 0xffff), half_bits(both >> 16));
      continue;
    }
    const uint32_t scale = word(S::kScalesAt + row * 16 + part * 4) >> (16 * i) & 0xffff;
    if constexpr (P::kScale == ScaleKind::kHalf) to[at] = half_bits(scale) * kDown;
    if constexpr (P::kScale == ScaleKind::kSuper)
      reinterpret_cast<float2*>(to)[at] = make_float2(half_bits(super & 0xffff) * float(scale & 255),
                                                      -(half_bits(super >> 16) * float(scale >> 8)));
    if constexpr (P::kScale == ScaleKind::kSigned) {
      const float factor = half_bits(odd ? super >> 16 : super & 0xffff) * kDown;
      reinterpret_cast<float2*>(to)[at] =
          make_float2(factor * float(int8_t(uint8_t(scale))), factor * float(int8_t(uint8_t(scale >> 8))));
    }
  }
}

// This lane's codes of a group of column lane / 4 as bytes with a sign: four weights of each half.
template <class P>
__device__ void unpack(uint32_t codes, const char* high, uint32_t* out) {
  const int part = int(threadIdx.x) % 4;
  out[0] = codes & 0x0f0f0f0fu;
  out[1] = codes >> 4 & 0x0f0f0f0fu;
  if constexpr (P::kBits == 5) {
    const uint32_t bits = *reinterpret_cast<const uint32_t*>(high) >> part;
    out[0] |= (bits & 0x01010101u) << 4;
    out[1] |= bits & 0x10101010u;
  }
  if constexpr (P::kBits == 6) {
    const uint2 bits = *reinterpret_cast<const uint2*>(high);
    out[0] |= (bits.x >> (2 * part) & 0x03030303u) << 4;
    out[1] |= (bits.y >> (2 * part) & 0x03030303u) << 4;
  }
  if constexpr (P::kZero > 0)
    for (int i = 0; i < 2; ++i) out[i] = out[i] << (8 - P::kBits) ^ 0x80808080u;
}

// sums[2 t + i] += the products of tokens lane / 4 + 8 t with columns 2 (lane % 4) + i, of a piece.
template <class P, int kTokens>
__device__ void multiply_piece(const char* piece, const float* factors, const char* codes, const char* groups,
                               const InputPlace& place, float* sums) {
  using S = Piece<P>;
  const int lane = int(threadIdx.x) % kWarp;
  constexpr int kAtOnce = 4 / S::kSlices;  // groups of a load of codes
  uint32_t b[4], a[4];
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    if (group % kAtOnce == 0) {
      const int at = group * S::kSlices + lane / 8, n = lane % 8;
      load_matrices(b, piece + at / 8 * kSliceBytes + n * 128 + ((at % 8 ^ n) << 4));
    }
    uint32_t weights[2];
    if constexpr (P::kBits == 8)
      weights[0] = b[group % 2 * 2], weights[1] = b[group % 2 * 2 + 1];
    else
      unpack<P>(b[group % 4], piece + S::kHighAt + (lane / 4 * kGroups + group) * P::kHighBytes, weights);
    uint32_t x[4];
    if constexpr (kTokens == 16) {
      load_matrices(x, codes + (lane / 8 % 2 * 8 + lane % 8) * place.code_stride + group * 32 + lane / 16 * 16);
    } else {
      if (group % 2 == 0) load_matrices(a, codes + lane % 8 * place.code_stride + group * 32 + lane / 8 * 16);
      x[0] = a[group % 2 * 2], x[2] = a[group % 2 * 2 + 1];
      x[1] = x[3] = 0;
    }
    int products[4], second[4];
    if constexpr (P::kScale == ScaleKind::kSigned) {
      multiply_half_bytes(products, x, weights[0], kStart);
      multiply_half_bytes(second, x + 2, weights[1], kStart);
    } else {
      multiply_bytes(products, x, weights[0], weights[1], kStart);
    }
    float factor[2][2];
    if constexpr (S::kFactors == 1) {
      const float2 v = *reinterpret_cast<const float2*>(factors + group * kRows + lane % 4 * 2);
      factor[0][0] = v.x, factor[1][0] = v.y;
    } else {
      const float4 v = *reinterpret_cast<const float4*>(factors + (group * kRows + lane % 4 * 2) * 2);
      factor[0][0] = v.x, factor[0][1] = v.y, factor[1][0] = v.z, factor[1][1] = v.w;
    }
#pragma unroll
    for (int t = 0; t < kTokens / 8; ++t) {
      const float2 input =
          *reinterpret_cast<const float2*>(groups + (lane / 4 + 8 * t) * place.group_stride + group * 8);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& sum = sums[2 * t + i];
        const float product = __int_as_float(products[2 * t + i]) - kStartValue;
        if constexpr (P::kScale == ScaleKind::kSigned) {
          const float other = __int_as_float(second[2 * t + i]) - kStartValue;
          sum = fmaf(fmaf(product, factor[i][0], other * factor[i][1]), input.x, sum);
        } else {
          sum = fmaf(product, factor[i][0] * input.x, sum);
        }
        if constexpr (S::kOffsets) sum = fmaf(factor[i][1], input.y, sum);
      }
    }
  }
}

// The activations of pieces `first` to `first + count` to shared memory, a warp for a token or a part of one; zeros for
// tokens and columns that are not there. Groups become their scale and, if `with_sums`, scale times the sum of codes.
template <int kTokens>
__device__ void copy_input(const MatvecArgs& a, int first, int count, const InputPlace& place, bool with_sums,
                           char* codes, char* groups) {
  constexpr int kParts = kFewWarps / kTokens;
  const int warp = int(threadIdx.x) / kWarp, token = warp % kTokens;
  const int begin = warp / kTokens * kWarp + int(threadIdx.x) % kWarp, step = kParts * kWarp;
  const bool known = token < a.tokens;
  const int64_t row = known ? int64_t(token) * a.columns : 0;
  const int columns = count * kPieceColumns, left = known ? a.columns - first * kPieceColumns : 0;
  const char* from = reinterpret_cast<const char*>(a.x.codes) + row + first * kPieceColumns;
  for (int at = begin * 16; at < columns; at += step * 16)
    copy_piece(codes + token * place.code_stride + at, at < left ? from + at : from, at < left);
  from = static_cast<const char*>(a.x.groups) + (row + first * kPieceColumns) / 4;
  for (int at = begin * 16; at < columns / 4; at += step * 16)
    copy_piece(groups + token * place.group_stride + at, at * 4 < left ? from + at : from, at * 4 < left);
  end_copies();
  wait_for_copies<0>();
  for (int at = begin * 16; with_sums && at < columns / 4; at += step * 16)
    for (int i = 0; i < 2; ++i) {
      const auto group = reinterpret_cast<ActivationGroup*>(groups + token * place.group_stride + at) + i;
      const ActivationGroup v = *group;
      *reinterpret_cast<float2*>(group) = make_float2(v.scale, v.scale * float(int(v.sums.x) + int(v.sums.y)));
    }
  __syncthreads();
}

// The sums of a tile of all slices, in their order, to the warp that brings the last; whether that is this one.
template <int kCount>
__device__ bool put_together(const FewArgs& f, int slice, int tile, float* sums) {
  if (f.slices == 1) return true;
  const int lane = int(threadIdx.x) % kWarp;
  float* mine = f.partial + (int64_t(tile) * f.slices * kWarp + lane) * kCount;
  for (int k = 0; k < kCount; ++k) __stcg(mine + slice * kWarp * kCount + k, sums[k]);
  if (!is_last_warp(f.arrived + tile, f.slices)) return false;
  for (int k = 0; k < kCount; ++k) sums[k] = 0;
  for (int other = 0; other < f.slices; ++other)
    for (int k = 0; k < kCount; ++k) sums[k] += __ldcg(mine + other * kWarp * kCount + k);
  return true;
}

// What a lane will write of a tile, and the residuals that it adds to: asked for before the sums are there.
template <int kTokens>
struct Ends {
  static constexpr int kCount = kTokens / 8;  // tokens of a lane
  Output outputs[kCount];
  float residuals[kCount][2];

  __device__ Ends(const MatvecArgs& a, int tile) {
    const int lane = int(threadIdx.x) % kWarp;
    const RowGroup rows = rows_of(a, tile);
    const MatvecArgs::Target& target = a.targets[rows.target];
#pragma unroll
    for (int t = 0; t < kCount; ++t) {
      Output& mine = outputs[t];
      mine = output_of<kAnyEpilogue>(a, rows, lane % 4, lane / 4 + 8 * t);
      residuals[t][0] = residuals[t][1] = 0;
      if (target.residual == nullptr || mine.token < 0) continue;
      const float* residual = target.residual + mine.token * target.residual_stride;
      residuals[t][0] = residual[mine.a];
      if (mine.b >= 0) residuals[t][1] = residual[mine.b];
    }
  }
  __device__ void finish(const FewArgs& f, int slice, int tile, float* sums) const {
    if (!put_together<2 * kCount>(f, slice, tile, sums)) return;
#pragma unroll
    for (int t = 0; t < kCount; ++t)
      cuda::finish<kAnyEpilogue>(f.matvec, outputs[t], tile, sums[2 * t], sums[2 * t + 1], residuals[t][0],
                                 residuals[t][1]);
  }
};

template <class P, int kTokens>
__global__ void __launch_bounds__(kFewThreads, 1) few_kernel(const __grid_constant__ FewArgs f) {
  using S = Piece<P>;
  constexpr int kSums = kTokens / 4;
  extern __shared__ __align__(16) char memory[];
  const MatvecArgs& a = f.matvec;
  let_next_start();
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, groups = a.columns / 32;
  const int slice = int(blockIdx.x) % f.slices, in_slice = int(blockIdx.x) / f.slices,
            blocks = int(gridDim.x) / f.slices;
  const int all = int(divide_up(groups, kGroups)), first_piece = all * slice / f.slices,
            pieces = all * (slice + 1) / f.slices - first_piece;
  const int first_tile = int(int64_t(a.tiles) * in_slice / blocks),
            tiles = int(int64_t(a.tiles) * (in_slice + 1) / blocks) - first_tile;
  const auto share = [&](int w) { return int(int64_t(tiles) * pieces * w / kFewWarps); };
  const int begin = share(warp), end = share(warp + 1);

  const InputPlace place(int(divide_up(all, f.slices)));
  char* codes = memory;
  char* input_groups = codes + kTokens * place.code_stride;
  char* ring = input_groups + kTokens * place.group_stride + warp * S::kOfWarp;
  float* factors = reinterpret_cast<float*>(ring + S::kStages * S::kBytes);
  LaneRows<P> rows;
  int next = begin, next_piece = begin % pieces, next_stage = 0;
  if (begin < end) rows.enter(a, first_tile + begin / pieces);
  const auto fetch = [&] {
    if (next < end) {
      rows.fetch(first_piece + next_piece, groups, ring + next_stage * S::kBytes);
      if (++next_stage == S::kStages) next_stage = 0;
      ++next;
      if (++next_piece == pieces) {
        next_piece = 0;
        if (next < end) rows.enter(a, first_tile + next / pieces);
      }
    }
    end_copies();
  };
#pragma unroll 1
  for (int i = 0; i < S::kStages - 1; ++i) fetch();
  wait_for_previous();
  copy_input<kTokens>(a, first_piece, pieces, place, S::kOffsets, codes, input_groups);

  float sums[kSums], head[kSums] = {};
  int stage = 0, tail = -1;  // the tile whose first pieces are this warp's last
  bool has_head = false;     // and whose last ones are its first
  for (int at = begin; at < end;) {
    const int tile = at / pieces, first = at - tile * pieces, count = min(pieces - first, end - at);
    bool odd = false;
    if constexpr (P::kSuperBytes == 2) {
      const Column column = column_of(a, rows_of(a, first_tile + tile), lane / 4);
      odd = (int64_t(column.row) * (groups / 8) + first_piece + first) % 2 != 0;
    }
    for (int k = 0; k < kSums; ++k) sums[k] = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      wait_for_copies<S::kStages - 2>();
      __syncwarp();
      fetch();
      const char* piece = ring + stage * S::kBytes;
      make_factors<P>(piece, odd != (i % 2 != 0), factors);
      __syncwarp();
      multiply_piece<P, kTokens>(piece, factors, codes + (first + i) * kPieceColumns,
                                 input_groups + (first + i) * kGroups * 8, place, sums);
      if (++stage == S::kStages) stage = 0;
    }
    at += count;
    if (count == pieces) {
      const Ends<kTokens> ends(a, first_tile + tile);
      ends.finish(f, slice, first_tile + tile, sums);
    } else if (first > 0) {
      has_head = true;
      for (int k = 0; k < kSums; ++k) head[k] = sums[k];
    } else {
      tail = tile;
    }
  }
  wait_for_copies<0>();
  __syncwarp();
  float* part = reinterpret_cast<float*>(ring) + lane * kSums;
  if (has_head)
    for (int k = 0; k < kSums; ++k) part[k] = head[k];
  const Ends<kTokens> ends(a, first_tile + max(tail, 0));
  __syncthreads();
  if (tail < 0) return;
  for (int w = warp + 1; w < kFewWarps && share(w) < (tail + 1) * pieces; ++w) {
    if (share(w) == share(w + 1)) continue;
    part += S::kOfWarp / 4 * (w - warp);
    for (int k = 0; k < kSums; ++k) sums[k] += part[k];
    part -= S::kOfWarp / 4 * (w - warp);
  }
  ends.finish(f, slice, first_tile + tail, sums);
}

struct FewKernel {
  void (*kernel)(FewArgs);
  int of_warp;
};
FewKernel kernel_for(const MatvecArgs& a) {
  FewKernel result = {};
  visit_planes(a.targets[0].weight.format, [&]<class P>(P) {
    result = {a.tokens <= 8 ? few_kernel<P, 8> : few_kernel<P, 16>, Piece<P>::kOfWarp};
  });
  return result;
}

struct Device {
  int major = 0, processors = 1, shared = 0;
  Device() {
    int device = 0;
    (void)cudaGetDevice(&device);
    (void)cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    (void)cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    (void)cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
};

}  // namespace

bool has_few_product(Format format, int tokens, int columns) {
  // Up to four tokens, matvec.cu waits for less; above eight, warpgroups take as long for small codes.
  constexpr int kLeast = 5, kMostOfSmallCodes = 8;
  const int most = format == Format::kQ8_0 ? kMostFew : kMostOfSmallCodes;
  return tokens >= kLeast && tokens <= most && columns > 0 && columns % 128 == 0 && Device().major == 9;
}

FewArgs plan_few(const MatvecArgs& planned) {
  const Device device;
  FewArgs f = {};
  f.matvec = planned;
  MatvecArgs& a = f.matvec;
  for (int t = 0; t < (a.epilogue == Epilogue::kGated ? 1 : a.count); ++t) {
    a.targets[t].first_tile = a.tiles;
    a.tiles += int(divide_up(a.targets[t].weight.rows, a.epilogue == Epilogue::kGated ? kRun : kRows));
  }
  const int tokens = a.tokens <= 8 ? 8 : 16, pieces = int(divide_up(a.columns / 32, kGroups));
  const int64_t most = device.shared - 1024 - kFewWarps * kernel_for(a).of_warp;
  int64_t least = INT64_MAX;
  for (int slices = 1; slices <= std::min(pieces, device.processors); ++slices) {
    const int64_t each = divide_up(pieces, slices), blocks = device.processors / slices;
    if (InputPlace(int(each)).bytes(tokens) > most) continue;
    constexpr int64_t kTogether = 24;  // pieces of the time that it takes to put parts of blocks together
    const int64_t longest = divide_up(a.tiles, blocks) * each + (slices > 1 ? kTogether + slices : 0);
    if (longest >= least) continue;
    least = longest;
    f.slices = slices;
    f.blocks = int(std::min<int64_t>(blocks, a.tiles)) * slices;
    f.shared = int(InputPlace(int(each)).bytes(tokens)) + kFewWarps * kernel_for(a).of_warp;
  }
  if (f.slices > 1) {
    f.partials = int64_t(a.tiles) * f.slices * kWarp * (tokens / 4);
    f.counters = a.tiles;
  }
  return f;
}

void launch(const FewArgs& f, cudaStream_t stream) {
  if (f.matvec.tiles == 0 || f.matvec.tokens == 0) return;
  launch_kernel(kernel_for(f.matvec).kernel, dim3(unsigned(f.blocks)), dim3(kFewThreads), size_t(f.shared),
                f.matvec.dependent != 0, f, stream);
}

}  // namespace metallic::cuda
