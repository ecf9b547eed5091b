// Matrix times a few vectors, the work of decoding: a warp for two rows of the weight and up to eight tokens. Layout:
// planes (planes.h) against activations of eight bits, or plain numbers against floats. Floor: the bytes of the weight.
// Up to eight 16-byte loads of a lane are under way before the kernel waits for the one ahead of it. The epilogue does
// what would otherwise be a kernel of its own: bias, residual, the gate of a feed-forward network, or rope and the
// write to the KV pages. The two rows of a warp are the two of a gate, or the two that rope turns together.
#include <cuda_bf16.h>

#include "backend/activation.h"
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/quantise.cuh"

namespace metallic::cuda {
namespace {

constexpr int kMostWarps = 8;  // of a block
constexpr int ahead_for(int tokens) { return tokens == 1 ? 4 : 1; }

// How a row is read, 16 bytes at a time: `Unit load(unit)`, and `float dot(unit, token)` with the activations.
template <class P>
struct PlaneRow {
  static constexpr int kUnit = P::kUnit;
  using Unit = PlaneUnit<P>;
  PlaneReader<P> reader;
  __device__ PlaneRow(const WeightRef& weight, int row) : reader(weight, row) {}
  __device__ Unit load(int unit) const { return reader.load(unit); }
};
template <class P>
struct PlaneInput {
  int words[P::kUnit / 4];
  ActivationGroup group;
  __device__ PlaneInput(const MatvecArgs& a, const Quantised& from_x, int token, int unit) {
    const int64_t at = int64_t(token) * a.columns + unit * P::kUnit;
    const int4* from = reinterpret_cast<const int4*>(from_x.codes + at);
    for (int i = 0; i < P::kUnit / 16; ++i) {
      const int4 v = from[i];
      words[4 * i] = v.x, words[4 * i + 1] = v.y, words[4 * i + 2] = v.z, words[4 * i + 3] = v.w;
    }
    group = static_cast<const ActivationGroup*>(from_x.groups)[at / 32];
  }
  __device__ float dot(const PlaneUnit<P>& unit) const { return unit.dot(words, group); }
};

struct Float32 {
  static constexpr int kUnit = 4;
  __device__ static void floats(const uint4& v, float* out) {
    out[0] = __uint_as_float(v.x), out[1] = __uint_as_float(v.y);
    out[2] = __uint_as_float(v.z), out[3] = __uint_as_float(v.w);
  }
};
struct Float16 {
  static constexpr int kUnit = 8;
  __device__ static void floats(const uint4& v, float* out) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i) {
      const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(words + i));
      out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
  }
};
struct BFloat16 {
  static constexpr int kUnit = 8;
  __device__ static void floats(const uint4& v, float* out) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
};
template <class Number>
struct FloatRow {
  static constexpr int kUnit = Number::kUnit;
  using Unit = uint4;
  const uint4* row;
  __device__ FloatRow(const WeightRef& weight, int row_number)
      : row(reinterpret_cast<const uint4*>(static_cast<const char*>(weight.codes) + row_number * weight.row_bytes)) {}
  __device__ Unit load(int unit) const { return load_once(row + unit); }
};
template <class Number>
struct FloatInput {
  float x[Number::kUnit];
  __device__ FloatInput(const MatvecArgs& a, const Quantised&, int token, int unit) {
    const float4* from =
        reinterpret_cast<const float4*>(a.floats.data + token * a.floats.stride + unit * Number::kUnit);
    for (int i = 0; i < Number::kUnit / 4; ++i) {
      const float4 v = from[i];
      x[4 * i] = v.x, x[4 * i + 1] = v.y, x[4 * i + 2] = v.z, x[4 * i + 3] = v.w;
    }
  }
  __device__ float dot(const uint4& unit) const {
    float weights[Number::kUnit];
    Number::floats(unit, weights);
    float sum = 0;
    for (int i = 0; i < Number::kUnit; ++i) sum = fmaf(weights[i], x[i], sum);
    return sum;
  }
};

// The two rows of a warp.
struct RowPair {
  int target;
  int first, second;  // second: -1 if there is none
};

__device__ RowPair rows_of_pair(const MatvecArgs& a, int pair) {
  if (a.epilogue == Epilogue::kGated) return {0, pair, pair};
  int t = 0;
  while (t + 1 < a.count && pair >= a.targets[t + 1].first_pair) ++t;
  const MatvecArgs::Target& target = a.targets[t];
  pair -= target.first_pair;
  if (a.epilogue == Epilogue::kAttention && target.pairs > 0 && !target.interleaved) {
    const int half = target.head_width / 2, head = pair / half, i = pair % half;
    const int base = head * target.head_width;
    if (i < target.pairs) return {t, base + i, base + i + target.pairs};
    return {t, base + 2 * i, base + 2 * i + 1};
  }
  return {t, 2 * pair, 2 * pair + 1 < target.weight.rows ? 2 * pair + 1 : -1};
}

__device__ void store_page(const Pages& pages, int64_t at, float value) {
  if (pages.format == Format::kF16)
    static_cast<uint16_t*>(pages.data)[at] = float_to_half(value);
  else
    static_cast<float*>(pages.data)[at] = value;
}

__device__ void write_page(const MatvecArgs& a, const MatvecArgs::Target& target, int token, int row, float value) {
  const Pages& pages = target.store == 1 ? a.keys : a.values;
  const RowPlace place = a.places[token];
  const DeviceSequence sequence = a.sequences[place.sequence];
  const int position = sequence.position + place.row - sequence.first_row;
  const int head = row / target.head_width, i = row % target.head_width;
  store_page(pages,
             sequence.pages[position / pages.page_tokens] * pages.page_stride + head * pages.head_stride +
                 position % pages.page_tokens * pages.token_stride + i,
             value);
}

__device__ void write_row(const MatvecArgs& a, const MatvecArgs::Target& target, int token, int row, float value) {
  float* out = target.out.data + token * target.out.stride + row;
  if (target.accumulate) value += *out;
  *out = value;
  if (target.residual) target.residual[token * target.residual_stride + row] += value;
  if (a.epilogue == Epilogue::kAttention && target.store != 0) write_page(a, target, token, row, value);
}

// The sums of a token, for one lane.
__device__ void finish(const MatvecArgs& a, const RowPair& rows, int token, float first, float second) {
  const MatvecArgs::Target& target = a.targets[rows.target];
  if (a.epilogue == Epilogue::kGated) {  // target 0 is what goes through the activation
    const MatvecArgs::Target& up = a.targets[1];
    if (target.bias) first += target.bias[rows.first];
    if (up.bias) second += up.bias[rows.first];
    target.out.data[token * target.out.stride + rows.first] = gated_value(a.activation, first, second, a.clamp);
    up.out.data[token * up.out.stride + rows.first] = second;
    return;
  }
  if (target.bias) {
    first += target.bias[rows.first];
    if (rows.second >= 0) second += target.bias[rows.second];
  }
  if (a.epilogue == Epilogue::kAttention && target.pairs > 0) {
    const int in_head = rows.first % target.head_width;
    const int pair = target.interleaved ? in_head / 2 : in_head;
    if (pair < target.pairs && (target.interleaved || rows.second == rows.first + target.pairs)) {
      float sine, cosine;
      sincosf(float(a.positions[token]) * target.frequencies[pair], &sine, &cosine);
      sine *= target.magnitude;
      cosine *= target.magnitude;
      const float x = first, y = second;
      first = x * cosine - y * sine;
      second = x * sine + y * cosine;
    }
  }
  write_row(a, target, token, rows.first, first);
  if (rows.second >= 0) write_row(a, target, token, rows.second, second);
}

// x of one token by the whole block: the norm, and its result in eight bits in shared memory. The first block writes
// the floats, too.
__device__ Quantised make_input(const MatvecArgs& a) {
  extern __shared__ int4 memory[];
  __shared__ float reduce[kWarp + 1];
  constexpr int kMost = kWidestPrologue / (8 * kWarp * 4);  // blocks have eight warps
  const int step = int(blockDim.x) * 4;
  const Quantised x{reinterpret_cast<int8_t*>(memory), reinterpret_cast<char*>(memory) + a.columns};
  const NormArgs& n = a.norm;
  float values[kMost][4];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    const int at = int(threadIdx.x) * 4 + i * step;
    float4 v = make_float4(0, 0, 0, 0);
    if (at < a.columns) v = *reinterpret_cast<const float4*>(n.x.data + at);
    values[i][0] = v.x, values[i][1] = v.y, values[i][2] = v.z, values[i][3] = v.w;
    sum += v.x + v.y + v.z + v.w;
  }
  const float mean = n.layer ? block_sum(sum, reduce) / float(a.columns) : 0.0f;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kMost; ++i)
    if (int(threadIdx.x) * 4 + i * step < a.columns)
      for (int k = 0; k < 4; ++k) {
        values[i][k] -= mean;
        squares = fmaf(values[i][k], values[i][k], squares);
      }
  squares = block_sum(squares, reduce);
  const float factor = 1.0f / sqrtf(squares / float(a.columns) + n.epsilon);
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    const int at = int(threadIdx.x) * 4 + i * step;
    if (at - int(threadIdx.x % kWarp) * 4 >= a.columns) break;  // the same for all lanes of a warp
    const bool valid = at < a.columns;
    for (int k = 0; k < 4 && valid; ++k) {
      float value = values[i][k] * factor;
      if (n.weight) value *= n.weight[at + k];
      if (n.bias) value += n.bias[at + k];
      values[i][k] = value;
      if (blockIdx.x == 0) n.out.data[at + k] = value;
    }
    quantise_four(values[i], valid, at, x.codes, static_cast<ActivationGroup*>(x.groups));
  }
  __syncthreads();
  return x;
}

template <class Row, class Input, int kTokens, bool kPrologue>
__global__ void __launch_bounds__(kMostWarps* kWarp, kTokens == 1 ? 2 : 1)
    matvec_kernel(const __grid_constant__ MatvecArgs a) {
  constexpr int kAhead = ahead_for(kTokens);
  const int lane = int(threadIdx.x) % kWarp, units = a.columns / Row::kUnit, step = int(gridDim.x * blockDim.x) / kWarp;
  const bool gated = a.epilogue == Epilogue::kGated;
  int pair = int(global_thread()) / kWarp;
  let_next_start();

  RowPair rows = {0, 0, -1};
  typename Row::Unit ahead[2][kAhead];
  const auto load = [&](int base) {
    const Row first(a.targets[rows.target].weight, rows.first);
    const Row second(a.targets[gated ? 1 : rows.target].weight, rows.second >= 0 ? rows.second : rows.first);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int unit = base + i * kWarp + lane;
      if (unit < units) {
        ahead[0][i] = first.load(unit);
        ahead[1][i] = second.load(unit);
      }
    }
  };
  if (pair < a.pairs) {
    rows = rows_of_pair(a, pair);
    load(0);
  }
  wait_for_previous();
  Quantised x = a.x;
  if constexpr (kPrologue) x = make_input(a);

  while (pair < a.pairs) {
    float sums[2][kTokens] = {};
    const RowPair done = rows;
    for (int base = 0; base < units; base += kAhead * kWarp) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int unit = base + i * kWarp + lane;
        if (unit < units) {
#pragma unroll
          for (int token = 0; token < kTokens; ++token) {
            if (token >= a.tokens) break;
            const Input input(a, x, token, unit);
            sums[0][token] += input.dot(ahead[0][i]);
            sums[1][token] += input.dot(ahead[1][i]);
          }
        }
      }
      // The next loads are under way before this pair's sums are put together.
      if (base + kAhead * kWarp < units) {
        load(base + kAhead * kWarp);
      } else if (pair + step < a.pairs) {
        rows = rows_of_pair(a, pair + step);
        load(0);
      }
    }
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      const float one = warp_sum(sums[0][token]), two = warp_sum(sums[1][token]);
      if (lane == token && token < a.tokens) finish(a, done, token, one, two);
    }
    pair += step;
  }
}

constexpr int kExpertWarps = 8;

// A warp for two rows of the expert of a (row, expert) pair.
template <class P>
__global__ void __launch_bounds__(kExpertWarps* kWarp) experts_kernel(const __grid_constant__ PlaneExpertsArgs a) {
  const ExpertsArgs& e = a.experts;
  const int row = (int(blockIdx.x) * kExpertWarps + int(threadIdx.x) / kWarp) * 2, lane = int(threadIdx.x) % kWarp;
  const int64_t pair = blockIdx.y;
  if (row >= e.rows) return;
  const int expert = e.ids[pair];
  const WeightRef weight = e.experts[expert];
  const PlaneReader<P> first(weight, row), second(weight, row + 1 < e.rows ? row + 1 : row);
  const int64_t x_row = e.own_rows ? pair : pair / e.used;
  float sums[2] = {};
  for (int unit = lane; unit < e.columns / P::kUnit; unit += kWarp) {
    const PlaneUnit<P> one = first.load(unit), two = second.load(unit);
    const int64_t at = x_row * e.columns + unit * P::kUnit;
    int words[P::kUnit / 4];
    for (int i = 0; i < P::kUnit / 4; ++i) words[i] = reinterpret_cast<const int*>(a.x.codes + at)[i];
    const ActivationGroup group = static_cast<const ActivationGroup*>(a.x.groups)[at / 32];
    sums[0] += one.dot(words, group);
    sums[1] += two.dot(words, group);
  }
  for (float& sum : sums) sum = warp_sum(sum);
  if (lane < 2 && row + lane < e.rows)
    e.out.data[pair * e.out.stride + row + lane] =
        (lane == 0 ? sums[0] : sums[1]) + (e.bias ? e.bias[int64_t(expert) * e.rows + row + lane] : 0.0f);
}

// Blocks that a Hopper GPU holds at a time. Of 132, 264 and as many as there is work for, 264 with four units ahead was
// the fastest on an H200 (docs/performance-cuda.md).
constexpr int kResident = 264;

template <class Row, class Input, bool kCanQuantise>
void launch_rows(const MatvecArgs& a, cudaStream_t stream) {
  const int64_t blocks = divide_up(a.pairs, kMostWarps);
  const int64_t turns = divide_up(blocks, blocks > kResident * 3 / 2 ? kResident : blocks);  // of a warp
  const dim3 grid(unsigned(divide_up(blocks, turns)));
  const auto run = [&](auto kernel, size_t shared) {
    launch_kernel(kernel, grid, dim3(kMostWarps * kWarp), shared, a.dependent != 0, a, stream);
  };
  if constexpr (kCanQuantise)
    if (a.has_norm) return run(matvec_kernel<Row, Input, 1, true>, size_t(a.columns) / 32 * 40);
  if (a.tokens == 1)
    run(matvec_kernel<Row, Input, 1, false>, 0);
  else
    run(matvec_kernel<Row, Input, kMostTokens, false>, 0);
}

template <class Number>
void launch_floats(const MatvecArgs& a, cudaStream_t stream) {
  launch_rows<FloatRow<Number>, FloatInput<Number>, false>(a, stream);
}

}  // namespace

void launch(const MatvecArgs& a, cudaStream_t stream) {
  if (a.pairs == 0 || a.tokens == 0) return;
  const WeightRef& weight = a.targets[0].weight;
  if (weight.layout == Layout::kPlanes)
    visit_planes(weight.format, [&]<class P>(P) { launch_rows<PlaneRow<P>, PlaneInput<P>, true>(a, stream); });
  else if (weight.format == Format::kF32)
    launch_floats<Float32>(a, stream);
  else if (weight.format == Format::kF16)
    launch_floats<Float16>(a, stream);
  else if (weight.format == Format::kBF16)
    launch_floats<BFloat16>(a, stream);
}

bool has_matvec(const WeightRef& weight) {
  if (weight.layout == Layout::kPlanes) return true;
  const bool plain = weight.format == Format::kF32 || weight.format == Format::kF16 || weight.format == Format::kBF16;
  return plain && weight.row_bytes % 16 == 0 && weight.columns > 0 &&
         reinterpret_cast<uintptr_t>(weight.codes) % 16 == 0;
}

void launch(const PlaneExpertsArgs& a, cudaStream_t stream) {
  if (int64_t(a.experts.pairs) * a.experts.rows == 0) return;
  const dim3 grid(unsigned(divide_up(a.experts.rows, 2 * kExpertWarps)), unsigned(a.experts.pairs));
  visit_planes(a.experts.format, [&]<class P>(P) {
    launch_kernel(experts_kernel<P>, grid, dim3(kExpertWarps * kWarp), 0, false, a, stream);
  });
}

}  // namespace metallic::cuda
