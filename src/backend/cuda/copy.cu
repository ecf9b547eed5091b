// Copies between strided views, and the plain matrix product of strided views.
#include <algorithm>
#include <cstring>

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"
#include "quant/plain.h"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float load_number(Format format, const char* from) {
  switch (format) {
    case Format::kF32:
      return *reinterpret_cast<const float*>(from);
    case Format::kF16:
      return half_to_float(*reinterpret_cast<const uint16_t*>(from));
    case Format::kBF16:
      return bfloat16_to_float(*reinterpret_cast<const uint16_t*>(from));
    default:
      return 0;
  }
}

__device__ void store_number(Format format, float value, char* to) {
  switch (format) {
    case Format::kF32:
      *reinterpret_cast<float*>(to) = value;
      break;
    case Format::kF16:
      *reinterpret_cast<uint16_t*>(to) = float_to_half(value);
      break;
    case Format::kBF16:
      *reinterpret_cast<uint16_t*>(to) = float_to_bfloat16(value);
      break;
    default:
      break;
  }
}

__global__ void convert_kernel(const CopyArgs a) {
  const int64_t count = a.size[0] * a.size[1] * a.size[2] * a.size[3];
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const Index4 index = index_of(i, a.size);
    store_number(a.to_format, load_number(a.from_format, address(a.from, index)), address(a.to, index));
  }
}

// Elements of sizeof(T) bytes, whatever they mean.
template <class T>
__global__ void move_kernel(const CopyArgs a) {
  const int64_t count = a.size[0] * a.size[1] * a.size[2] * a.size[3];
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const Index4 index = index_of(i, a.size);
    *reinterpret_cast<T*>(address(a.to, index)) = *reinterpret_cast<const T*>(address(a.from, index));
  }
}

// The same for a transposed view: tiles go through shared memory, so that reads are in order along dimension 2 of the
// source and writes along dimension 3 of the target.
constexpr int kTile = 32, kTileRows = 8;
template <class T>
__global__ void turn_kernel(const CopyArgs a) {
  __shared__ T tile[kTile][kTile + 1];
  const int64_t columns = divide_up(a.size[3], kTile), rows = divide_up(a.size[2], kTile);
  const int64_t tiles = a.size[0] * a.size[1] * rows * columns;
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const int64_t column = t % columns * kTile, row = t / columns % rows * kTile, outer = t / columns / rows;
    Index4 index{{outer / a.size[1], outer % a.size[1], 0, 0}};
    const char* from = address(a.from, index);
    char* to = address(a.to, index);
    for (int j = int(threadIdx.y); j < kTile; j += kTileRows) {  // dimension 2 varies with x
      const int64_t c = column + j, r = row + threadIdx.x;
      if (c < a.size[3] && r < a.size[2])
        tile[j][threadIdx.x] = *reinterpret_cast<const T*>(from + r * a.from.stride[2] + c * a.from.stride[3]);
    }
    __syncthreads();
    for (int j = int(threadIdx.y); j < kTile; j += kTileRows) {
      const int64_t r = row + j, c = column + threadIdx.x;
      if (c < a.size[3] && r < a.size[2])
        *reinterpret_cast<T*>(to + r * a.to.stride[2] + c * a.to.stride[3]) = tile[threadIdx.x][j];
    }
    __syncthreads();
  }
}

// Blocks of any size, byte by byte.
__global__ void move_blocks_kernel(const CopyArgs a) {
  const int64_t count = a.size[0] * a.size[1] * a.size[2] * a.size[3] * a.block_bytes;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const Index4 index = index_of(i / a.block_bytes, a.size);
    address(a.to, index)[i % a.block_bytes] = address(a.from, index)[i % a.block_bytes];
  }
}

template <class T>
void move(const CopyArgs& a, int64_t count, cudaStream_t stream) {
  const bool turned = a.from.stride[2] == int64_t(sizeof(T)) && a.from.stride[3] != int64_t(sizeof(T)) &&
                      a.size[2] >= kTile / 2 && a.size[3] >= kTile / 2;
  if (turned)
    turn_kernel<T><<<grid_for(count / (kTile * kTile), 1), dim3(kTile, kTileRows), 0, stream>>>(a);
  else
    move_kernel<T><<<grid_for(count, kThreads), kThreads, 0, stream>>>(a);
}

// out (.., n, m) = a (.., n, k) * b (.., k, m): a tile of the result for each block.
constexpr int kSide = 16;
__global__ void matmul_kernel(const MatmulArgs a) {
  __shared__ float left[kSide][kSide + 1], right[kSide][kSide + 1];
  const int64_t outer = blockIdx.z, n0 = int64_t(blockIdx.y) * kSide, m0 = int64_t(blockIdx.x) * kSide;
  const Index4 index{{outer / a.channels, outer % a.channels, 0, 0}};
  const char* from_a = address(a.a, index);
  const char* from_b = address(a.b, index);
  const int x = int(threadIdx.x), y = int(threadIdx.y);
  float sum = 0;
  for (int64_t k = 0; k < a.inner; k += kSide) {
    left[y][x] = n0 + y < a.rows && k + x < a.inner
                     ? *reinterpret_cast<const float*>(from_a + (n0 + y) * a.a.stride[2] + (k + x) * a.a.stride[3])
                     : 0.0f;
    right[y][x] = k + y < a.inner && m0 + x < a.columns
                      ? *reinterpret_cast<const float*>(from_b + (k + y) * a.b.stride[2] + (m0 + x) * a.b.stride[3])
                      : 0.0f;
    __syncthreads();
    for (int i = 0; i < kSide; ++i) sum = fmaf(left[y][i], right[i][x], sum);
    __syncthreads();
  }
  if (n0 + y < a.rows && m0 + x < a.columns)
    *reinterpret_cast<float*>(address(a.out, index) + (n0 + y) * a.out.stride[2] + (m0 + x) * a.out.stride[3]) = sum;
}

struct WriteArgs {
  uint4 values[kMostWritten / sizeof(uint4)];
  uint4* to;
  int32_t count;
};
__global__ void write_kernel(const __grid_constant__ WriteArgs a) {
  const int i = int(threadIdx.x);
  if (i < a.count) a.to[i] = a.values[i];
}

constexpr int kMostCopies = 4;  // by one launch
struct RowCopies {
  RowCopy copies[kMostCopies];
};

// Words of sizeof(T) bytes; reads over the link take long, so each thread has several under way.
template <class T>
__global__ void rows_kernel(const __grid_constant__ RowCopies all) {
  constexpr int kAtOnce = 4;
  const RowCopy& a = all.copies[blockIdx.y];
  const int64_t words = a.row_bytes / int64_t(sizeof(T)), count = words * a.rows, step = global_threads();
  for (int64_t first = global_thread(); first < count; first += kAtOnce * step) {
    T values[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (const int64_t at = first + i * step; at < count)
        values[i] =
            reinterpret_cast<const T*>(static_cast<const char*>(a.from) + at / words * a.from_stride)[at % words];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (const int64_t at = first + i * step; at < count)
        reinterpret_cast<T*>(static_cast<char*>(a.to) + at / words * a.to_stride)[at % words] = values[i];
  }
}

// A block for each row.
template <class T>
__global__ void wanted_rows_kernel(const RowCopy a, const int32_t* wanted) {
  const int64_t row = blockIdx.x, words = a.row_bytes / int64_t(sizeof(T));
  if (wanted[row] == 0) return;
  const T* const from = reinterpret_cast<const T*>(static_cast<const char*>(a.from) + row * a.from_stride);
  T* const to = reinterpret_cast<T*>(static_cast<char*>(a.to) + row * a.to_stride);
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < words; i += blockDim.x) to[i] = from[i];
}

__global__ void ask_kernel(uint64_t* asked, uint64_t number) {
  __threadfence_system();
  asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(asked), "l"(number) : "memory");
}

__global__ void wait_for_answer_kernel(const uint64_t* answered, uint64_t number) {
  uint64_t seen = 0;
  do {
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(seen) : "l"(answered) : "memory");
  } while (seen < number);
}

bool in_words_of_16(const RowCopy& a) {
  const int64_t all = reinterpret_cast<int64_t>(a.from) | reinterpret_cast<int64_t>(a.to) | a.row_bytes |
                      (a.rows > 1 ? a.from_stride | a.to_stride : 0);
  return all % int64_t(sizeof(uint4)) == 0;
}

void launch_together(std::span<const RowCopy> copies, cudaStream_t stream) {
  constexpr int64_t kMostBlocks = 64;  // the link's rate, beside weights that come
  RowCopies all = {};
  std::copy(copies.begin(), copies.end(), all.copies);
  const bool wide = std::all_of(copies.begin(), copies.end(), in_words_of_16);
  int64_t most = 0;
  for (const RowCopy& each : copies) most = std::max(most, each.row_bytes * each.rows);
  if (most == 0) return;
  const int64_t words = most / int64_t(wide ? sizeof(uint4) : sizeof(uint32_t));
  const dim3 grid(unsigned(std::min(kMostBlocks, divide_up(words, int64_t(kThreads)))), unsigned(copies.size()));
  if (wide)
    rows_kernel<uint4><<<grid, kThreads, 0, stream>>>(all);
  else
    rows_kernel<uint32_t><<<grid, kThreads, 0, stream>>>(all);
}

}  // namespace

void launch_rows(std::span<const RowCopy> copies, cudaStream_t stream) {
  for (size_t first = 0; first < copies.size(); first += kMostCopies)
    launch_together(copies.subspan(first, std::min<size_t>(kMostCopies, copies.size() - first)), stream);
}

void launch_wanted_rows(const RowCopy& a, const int32_t* wanted, cudaStream_t stream) {
  if (a.rows == 0 || a.row_bytes == 0) return;
  const dim3 grid{unsigned(a.rows)};
  if (in_words_of_16(a))
    wanted_rows_kernel<uint4><<<grid, kThreads, 0, stream>>>(a, wanted);
  else
    wanted_rows_kernel<uint32_t><<<grid, kThreads, 0, stream>>>(a, wanted);
}

void launch_ask(uint64_t* asked, uint64_t number, cudaStream_t stream) {
  ask_kernel<<<1, 1, 0, stream>>>(asked, number);
}

void launch_wait_for_answer(const uint64_t* answered, uint64_t number, cudaStream_t stream) {
  wait_for_answer_kernel<<<1, 1, 0, stream>>>(answered, number);
}

void launch(const CopyArgs& a, cudaStream_t stream) {
  const int64_t count = a.size[0] * a.size[1] * a.size[2] * a.size[3];
  if (count == 0) return;
  if (a.from_format != a.to_format) {
    convert_kernel<<<grid_for(count, kThreads), kThreads, 0, stream>>>(a);
  } else if (a.block_bytes == 4) {
    move<uint32_t>(a, count, stream);
  } else if (a.block_bytes == 2) {
    move<uint16_t>(a, count, stream);
  } else {
    move_blocks_kernel<<<grid_for(count * a.block_bytes, kThreads), kThreads, 0, stream>>>(a);
  }
}

void launch(const MatmulArgs& a, cudaStream_t stream) {
  if (a.batch * a.channels * a.rows * a.columns == 0) return;
  const dim3 grid(unsigned(divide_up(a.columns, kSide)), unsigned(divide_up(a.rows, kSide)),
                  unsigned(a.batch * a.channels));
  matmul_kernel<<<grid, dim3(kSide, kSide), 0, stream>>>(a);
}

void launch_write(const void* values, uint64_t bytes, void* to, cudaStream_t stream) {
  WriteArgs a = {};
  std::memcpy(a.values, values, bytes);
  a.to = static_cast<uint4*>(to);
  a.count = int32_t(divide_up(int64_t(bytes), sizeof(uint4)));
  write_kernel<<<1, kMostWritten / sizeof(uint4), 0, stream>>>(a);
}

}  // namespace metallic::cuda
