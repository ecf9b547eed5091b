// What Hopper has for products: matrix instructions of a warpgroup (four warps), barriers in shared memory that copies
// arrive at, and copies by the bulk copy engine. Only code compiled for sm_90a has any of it.
#pragma once

#include <cstdint>

namespace metallic::cuda {

constexpr int kWarpgroup = 128;   // threads
constexpr int kSliceBytes = 128;  // of a row of a matrix in shared memory: matrix_of_slices()

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ inline uint32_t shared_address(const void* at) { return uint32_t(__cvta_generic_to_shared(at)); }

__device__ inline void start_barrier(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// Between start_barrier() and the barrier of the block behind it.
__device__ inline void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ inline void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and as many bytes are to come before the phase ends.
__device__ inline void arrive_expecting(uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
// Until phase `phase` (only its lowest bit counts) has ended.
__device__ inline void wait_for_phase(uint64_t* barrier, unsigned phase) {
  uint32_t done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(phase & 1)
                 : "memory");
  } while (done == 0);
}
// A piece of the device's memory to shared memory; both at multiples of 16 bytes, as is the size.
__device__ inline void copy_bulk(void* to, const void* from, int bytes, uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}

// A box of a tensor of four dimensions; what is outside of the tensor becomes zeros, and counts as well.
__device__ inline void copy_box(void* to, const void* map, int a, int b, int c, int d, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], "
      "[%6];" ::"r"(shared_address(to)),
      "l"(map), "r"(a), "r"(b), "r"(c), "r"(d), "r"(shared_address(barrier))
      : "memory");
}

// A matrix in shared memory whose rows are the columns of b: 8 x 8 pieces of 128 bytes, without a swizzle.
struct MatrixPlace {
  uint32_t low, high;
  __device__ MatrixPlace further(int bytes) const { return {low + uint32_t(bytes >> 4), high}; }
};
// `along`: bytes between neighbours along the 16 numbers of a row that one instruction takes; `across`: from 8 rows to
// the next.
__device__ inline MatrixPlace matrix_of(const void* at, int along, int across) {
  return {(shared_address(at) >> 4 & 0x3fff) | uint32_t(along >> 4) << 16, uint32_t(across >> 4)};
}
// Rows of 64 numbers of 16 bits (slices of longer ones), 8 rows in 1,024 bytes from a multiple of 1,024 on, the pieces
// of 16 bytes of a row in another order in each of the 8, so that they meet all banks both ways.
__device__ inline int piece_in_slice(int row, int piece) { return row * kSliceBytes + ((piece ^ row % 8) << 4); }
// `slices`: bytes from one slice to the next, for multiply_across().
__device__ inline MatrixPlace matrix_of_slices(const void* at, int slices) {
  return {(shared_address(at) >> 4 & 0x3fff) | uint32_t(slices >> 4) << 16, 8 * kSliceBytes >> 4 | 1u << 30};
}
// Shared memory written by this thread's stores and copies before is seen by the matrix instructions of those that
// meet it at a barrier behind.
__device__ inline void publish_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Registers that a matrix instruction has: none of them is read before, or written behind.
template <int kCount>
__device__ inline void hold(float* c) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(c[i])::"memory");
}
// Registers of each thread of this warpgroup from here on.
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void leave_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
// A barrier of `threads` threads, of which some may arrive without waiting. Number 0 is __syncthreads().
__device__ inline void meet(int number, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}
__device__ inline void announce(int number, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

// Registers written by other instructions before are seen by those of the warpgroup behind it.
__device__ inline void warpgroup_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void warpgroup_end() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until all groups but the latest `kLeft` have ended.
template <int kLeft>
__device__ inline void warpgroup_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

// c (64 x kColumns) += a (64 x 16) * b, bfloat16, or = if not `add`; c and a must be left alone until warpgroup_wait().
// A lane's part of c and of a: as of a 16 x 8 and a 16 x 16 product (tensor_core.cuh) by its warp, which has a quarter
// of the rows; c by tiles of 8 columns.
template <int kColumns>
__device__ void multiply_warpgroup(float* c, const uint32_t* a, const MatrixPlace& b, bool add);

#define METALLIC_FOUR(i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define METALLIC_SIXTEEN(i) METALLIC_FOUR(i), METALLIC_FOUR(i + 4), METALLIC_FOUR(i + 8), METALLIC_FOUR(i + 12)
#define METALLIC_MULTIPLY(SHAPE, PLACES, A, B, ADD, ...)                                                             \
  asm volatile("{\n.reg .pred p;\n.reg .b64 b;\nmov.b64 b, {" B "};\nsetp.ne.b32 p, " ADD                            \
               ", 0;\nwgmma.mma_async.sync.aligned." SHAPE ".f32.bf16.bf16 {" PLACES "}, {" A "}, b, p, 1, 1, 0;\n}" \
               : __VA_ARGS__                                                                                         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.low), "r"(b.high), "r"(int(add)))
#define METALLIC_PLACES8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define METALLIC_PLACES16 METALLIC_PLACES8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define METALLIC_PLACES32 \
  METALLIC_PLACES16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define METALLIC_PLACES64                                                                      \
  METALLIC_PLACES32                                                                            \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49" \
  ", %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

template <>
__device__ inline void multiply_warpgroup<16>(float* c, const uint32_t* a, const MatrixPlace& b, bool add) {
  METALLIC_MULTIPLY("m64n16k16", METALLIC_PLACES8, "%8, %9, %10, %11", "%12, %13", "%14", METALLIC_FOUR(0),
                    METALLIC_FOUR(4));
}
template <>
__device__ inline void multiply_warpgroup<32>(float* c, const uint32_t* a, const MatrixPlace& b, bool add) {
  METALLIC_MULTIPLY("m64n32k16", METALLIC_PLACES16, "%16, %17, %18, %19", "%20, %21", "%22", METALLIC_SIXTEEN(0));
}
template <>
__device__ inline void multiply_warpgroup<64>(float* c, const uint32_t* a, const MatrixPlace& b, bool add) {
  METALLIC_MULTIPLY("m64n64k16", METALLIC_PLACES32, "%32, %33, %34, %35", "%36, %37", "%38", METALLIC_SIXTEEN(0),
                    METALLIC_SIXTEEN(16));
}
template <>
__device__ inline void multiply_warpgroup<128>(float* c, const uint32_t* a, const MatrixPlace& b, bool add) {
  METALLIC_MULTIPLY("m64n128k16", METALLIC_PLACES64, "%64, %65, %66, %67", "%68, %69", "%70", METALLIC_SIXTEEN(0),
                    METALLIC_SIXTEEN(16), METALLIC_SIXTEEN(32), METALLIC_SIXTEEN(48));
}

// c (64 x 128) += a (64 x 16) * b, or = if not `add`: a by rows, b by columns, both in slices in shared memory, in
// bfloat16 or half precision.
#define METALLIC_MULTIPLY_SHARED(TYPES)                                                                             \
  asm volatile(                                                                                                     \
      "{\n.reg .pred p;\n.reg .b64 a, b;\nmov.b64 a, {%64, %65};\nmov.b64 b, {%66, %67};\nsetp.ne.b32 p, %68, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPES " {" METALLIC_PLACES64 "}, a, b, p, 1, 1, 0, 0;\n}"      \
      : METALLIC_SIXTEEN(0), METALLIC_SIXTEEN(16), METALLIC_SIXTEEN(32), METALLIC_SIXTEEN(48)                       \
      : "r"(a.low), "r"(a.high), "r"(b.low), "r"(b.high), "r"(int(add)))
template <bool kBfloat>
__device__ inline void multiply_shared(float* c, const MatrixPlace& a, const MatrixPlace& b, bool add) {
  if constexpr (kBfloat)
    METALLIC_MULTIPLY_SHARED("bf16.bf16");
  else
    METALLIC_MULTIPLY_SHARED("f16.f16");
}
#undef METALLIC_MULTIPLY_SHARED

// c (64 x kColumns) += a (64 x 16) * b: a in registers, b by rows in slices.
#define METALLIC_MULTIPLY_ACROSS(SHAPE, TYPES, PLACES, A, B, ADD, ...)                                               \
  asm volatile("{\n.reg .pred p;\n.reg .b64 b;\nmov.b64 b, {" B "};\nsetp.ne.b32 p, " ADD                            \
               ", 0;\nwgmma.mma_async.sync.aligned." SHAPE ".f32." TYPES " {" PLACES "}, {" A "}, b, p, 1, 1, 1;\n}" \
               : __VA_ARGS__                                                                                         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.low), "r"(b.high), "r"(int(add)))
template <bool kBfloat, int kColumns>
__device__ inline void multiply_across(float* c, const uint32_t* a, const MatrixPlace& b, bool add) {
  static_assert(kColumns == 64 || kColumns == 128);
#define METALLIC_ACROSS_64(TYPES)                                                                          \
  METALLIC_MULTIPLY_ACROSS("m64n64k16", TYPES, METALLIC_PLACES32, "%32, %33, %34, %35", "%36, %37", "%38", \
                           METALLIC_SIXTEEN(0), METALLIC_SIXTEEN(16))
#define METALLIC_ACROSS_128(TYPES)                                                                          \
  METALLIC_MULTIPLY_ACROSS("m64n128k16", TYPES, METALLIC_PLACES64, "%64, %65, %66, %67", "%68, %69", "%70", \
                           METALLIC_SIXTEEN(0), METALLIC_SIXTEEN(16), METALLIC_SIXTEEN(32), METALLIC_SIXTEEN(48))
  if constexpr (kColumns == 64 && kBfloat)
    METALLIC_ACROSS_64("bf16.bf16");
  else if constexpr (kColumns == 64)
    METALLIC_ACROSS_64("f16.f16");
  else if constexpr (kBfloat)
    METALLIC_ACROSS_128("bf16.bf16");
  else
    METALLIC_ACROSS_128("f16.f16");
#undef METALLIC_ACROSS_64
#undef METALLIC_ACROSS_128
}
#undef METALLIC_MULTIPLY_ACROSS
#undef METALLIC_FOUR
#undef METALLIC_SIXTEEN
#undef METALLIC_MULTIPLY
#undef METALLIC_PLACES8
#undef METALLIC_PLACES16
#undef METALLIC_PLACES32
#undef METALLIC_PLACES64

#endif

}  // namespace metallic::cuda
