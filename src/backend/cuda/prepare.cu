// What stands between the products of many rows: norms and activations to 16 bits, rope and the write to the KV pages,
// the gate of the feed-forward network. Floor: each number read and written once. A thread takes eight neighbouring
// columns, so that it stores 16 bytes of the 16-bit numbers at a time.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/pages.cuh"
#include "backend/cuda/wide.cuh"

namespace metallic::cuda {
namespace {

constexpr int kMostThreads = 512, kMostEights = kWidestNorm / kMostThreads / 8;  // of a thread

__host__ __device__ int padded_columns(const PrepareArgs& a) {
  return a.to.token_tiles > 0 ? (a.columns + kChunk - 1) / kChunk * kChunk : a.columns;
}

// A block for each row.
template <int kEights>
__global__ void __launch_bounds__(kMostThreads) norm_kernel(const __grid_constant__ PrepareArgs a) {
  __shared__ float shared[kWarp + 1];
  const int row = int(blockIdx.x), step = int(blockDim.x) * 8, padded = padded_columns(a);
  const NormArgs& n = a.norm;
  const float* x = n.x.data + row * n.x.row_stride;
  let_next_start();
  wait_for_previous();
  float values[kEights][8] = {};
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kEights; ++i) {
    const int at = int(threadIdx.x) * 8 + i * step;
    if (at >= a.columns) break;
    load_eight(x + at, a.aligned != 0, values[i]);
    for (int k = 0; k < 8; ++k) sum += values[i][k];
  }
  const float mean = n.layer ? block_sum(sum, shared) / float(a.columns) : 0.0f;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kEights; ++i) {
    if (int(threadIdx.x) * 8 + i * step >= a.columns) break;
    for (int k = 0; k < 8; ++k) {
      values[i][k] -= mean;
      squares = fmaf(values[i][k], values[i][k], squares);
    }
  }
  squares = block_sum(squares, shared);
  const float factor = 1.0f / sqrtf(squares / float(a.columns) + n.epsilon);
#pragma unroll
  for (int i = 0; i < kEights; ++i) {
    const int at = int(threadIdx.x) * 8 + i * step;
    if (at >= padded) break;
    if (at < a.columns) {
      for (int k = 0; k < 8; ++k) {
        values[i][k] *= factor;
        if (n.weight) values[i][k] *= n.weight[at + k];
        if (n.bias) values[i][k] += n.bias[at + k];
      }
      if (a.write_out) store_eight(values[i], a.aligned != 0, n.out.data + row * n.out.row_stride + at);
    }
    store_eight_of(a.to, row, at, a.columns, eight_bits_of(values[i], a.to.half != 0));
  }
}

__global__ void convert_kernel(const __grid_constant__ PrepareArgs a) {
  let_next_start();
  wait_for_previous();
  const int eights = padded_columns(a) / 8;
  for (int row = int(blockIdx.y); row < a.rows; row += int(gridDim.y))
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < eights; i += int(gridDim.x * blockDim.x)) {
      float values[8] = {};
      if (i * 8 < a.columns) load_eight(a.x.data + row * a.x.stride + i * 8, a.aligned != 0, values);
      store_eight_of(a.to, row, i * 8, a.columns, eight_bits_of(values, a.to.half != 0));
    }
}

constexpr int kSpreadThreads = 256, kPairsOfThread = 4;

// A block for some pairs of numbers of a row, a thread for every so manyeth: all that does not come from the product
// is there before the wait for it.
__global__ void __launch_bounds__(kSpreadThreads) spread_kernel(const __grid_constant__ SpreadArgs a) {
  let_next_start();
  const RowPlace place = a.places[blockIdx.x];
  struct {
    int part, column, head, first, second;
    float2 turn, bias, value;
  } pairs[kPairsOfThread];
  // Where whole heads lie between them, a thread's pairs turn alike: sines are made once.
  int turned_pair = -1;
  float turned_magnitude = 0;
  const float* turned_by = nullptr;
  float2 turn = {};
#pragma unroll
  for (int k = 0; k < kPairsOfThread; ++k) {
    auto& p = pairs[k];
    int i = int(blockIdx.y * kPairsOfThread + k) * kSpreadThreads + int(threadIdx.x);
    p.part = 0;
    while (p.part < 3 && i >= a.parts[p.part].width / 2) i -= a.parts[p.part++].width / 2;
    if (p.part == 3) break;
    const SpreadArgs::Part& part = a.parts[p.part];
    const int half = part.head_width / 2, pair = i % half;
    p.head = i / half;
    p.first = 2 * pair, p.second = p.first + 1;
    p.turn = make_float2(1, 0);
    if (pair < part.pairs) {
      if (!part.interleaved) p.first = pair, p.second = pair + part.pairs;
      if (pair != turned_pair || part.frequencies != turned_by || part.magnitude != turned_magnitude) {
        turned_pair = pair, turned_by = part.frequencies, turned_magnitude = part.magnitude;
        float sine, cosine;
        sincosf(float(a.positions[place.row]) * part.frequencies[pair], &sine, &cosine);
        turn = make_float2(cosine * part.magnitude, sine * part.magnitude);
      }
      p.turn = turn;
    }
    p.column = p.head * part.head_width;
    p.bias = make_float2(0, 0);
    if (part.bias) p.bias = make_float2(part.bias[p.column + p.first], part.bias[p.column + p.second]);
  }
  wait_for_previous();
#pragma unroll
  for (int k = 0; k < kPairsOfThread; ++k) {
    auto& p = pairs[k];
    if (p.part == 3) break;
    const Rows& rows = a.parts[p.part].from;
    const float* from = rows.data + place.row * rows.stride + p.column;
    p.value = make_float2(from[p.first], from[p.second]);
  }
#pragma unroll
  for (int k = 0; k < kPairsOfThread; ++k) {
    const auto& p = pairs[k];
    if (p.part == 3) break;
    const float x = p.value.x + p.bias.x, y = p.value.y + p.bias.y;
    const float turned_x = x * p.turn.x - y * p.turn.y, turned_y = x * p.turn.y + y * p.turn.x;
    const Rows& out = a.parts[p.part].out;
    if (out.data) {
      float* to = out.data + place.row * out.stride + p.column;
      to[p.first] = turned_x, to[p.second] = turned_y;
    }
    if (p.part > 0) {
      const Pages& pages = p.part == 1 ? a.keys : a.values;
      const int64_t at = place_on_page(pages, place.page, place.position) + p.head * pages.head_stride;
      store_page(pages, at + p.first, turned_x);
      store_page(pages, at + p.second, turned_y);
    }
  }
}

__device__ void load_products(const GateArgs& a, int64_t at, float* values) {
  if (a.in_floats) return load_eight(static_cast<const float*>(a.product) + at, true, values);
  const uint4 v = *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(a.product) + at);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 4; ++i) {
    values[2 * i] = __uint_as_float(words[i] << 16);
    values[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

__global__ void gate_kernel(const __grid_constant__ GateArgs a) {
  const int eights = a.width / 8;
  for (int row = int(blockIdx.y); row < a.rows; row += int(gridDim.y))
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < eights; i += int(gridDim.x * blockDim.x)) {
      float up[8], gate[8];
      load_products(a, row * a.stride + i * 8, up);
      load_products(a, row * a.stride + a.width + i * 8, gate);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        if (a.up_bias) up[k] += a.up_bias[i * 8 + k];
        if (a.gate_bias) gate[k] += a.gate_bias[i * 8 + k];
        gate[k] = gate_of(a.activation, gate[k], up[k], a.clamp);
      }
      if (a.up.data) store_eight(up, false, a.up.data + row * a.up.stride + i * 8);
      if (a.out.data) store_eight(gate, false, a.out.data + row * a.out.stride + i * 8);
      if (a.to.data) store_eight_of(a.to, row, i * 8, a.width, eight_bits_of(gate, a.to.half != 0));
    }
}

dim3 grid_of_rows(int rows, int eights, int threads) {
  return dim3(unsigned(divide_up(eights, threads)), unsigned(std::min(rows, 32768)));
}

}  // namespace

void launch(const PrepareArgs& a, cudaStream_t stream) {
  if (a.rows == 0 || a.columns == 0) return;
  const int eights = padded_columns(a) / 8;
  if (!a.has_norm) {
    constexpr int kThreads = 128;
    const dim3 grid = grid_of_rows(a.rows, eights, kThreads);
    return launch_kernel(convert_kernel, grid, dim3(kThreads), 0, a.dependent != 0, a, stream);
  }
  const int64_t warps = divide_up(eights, kWarp);
  const auto run = [&](auto kernel, int each) {
    const int64_t threads = std::clamp<int64_t>(divide_up(warps, each) * kWarp, kWarp, kMostThreads);
    launch_kernel(kernel, dim3(unsigned(a.rows)), dim3(unsigned(threads)), 0, a.dependent != 0, a, stream);
  };
  if (eights <= kMostThreads)
    run(norm_kernel<1>, 1);
  else
    run(norm_kernel<kMostEights>, kMostEights);
}

void launch(const SpreadArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const int pairs = (a.parts[0].width + a.parts[1].width + a.parts[2].width) / 2;
  const dim3 grid(unsigned(a.rows), unsigned(divide_up(pairs, kSpreadThreads * kPairsOfThread)));
  launch_kernel(spread_kernel, grid, dim3(kSpreadThreads), 0, a.dependent != 0, a, stream);
}

void launch(const GateArgs& a, cudaStream_t stream) {
  if (a.rows == 0 || a.width == 0) return;
  constexpr int kThreads = 256;
  gate_kernel<<<grid_of_rows(a.rows, a.width / 8, kThreads), kThreads, 0, stream>>>(a);
}

}  // namespace metallic::cuda
