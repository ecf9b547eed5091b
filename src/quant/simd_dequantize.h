// Rows of any format over the primitives S of one instruction set.
//
// Floor: the bytes of the blocks and of the result over the memory's bandwidth; in a cache, one store of a vector a
// cycle. A result too large for the caches is written around them (S::stream), a chunk at a time: a plain store would
// first read what it overwrites, half as many bytes again and more. docs/parallel-dequantisation.md has the figures.
#pragma once

#include <type_traits>

#include "quant/dequantize_blocks.h"
#include "quant/dequantize_isa.h"
#include "quant/simd_blocks.h"
#include "quant/simd_codebooks.h"
#include "quant/simd_k_blocks.h"

namespace metallic::quant::inline METALLIC_ISA {

inline constexpr int64_t kStreamChunk = 1024;  // elements, a multiple of every block

template <class S, Grouped F, class T>
void dequantize_through_cache(const void* blocks, int64_t elements, T* out) {
  const auto* block = static_cast<const typename F::Block*>(blocks);
  for (int64_t i = 0; i < elements; i += F::kBlock) expand<S>(*block++, out + i);
}

template <class S, class F, class T>
void dequantize_through_cache(const void* numbers, int64_t elements, T* out) {
  const auto* number = static_cast<const typename F::Block*>(numbers);
  int64_t i = 0;
  if constexpr (requires { S::load_numbers(number); })
    for (; i + S::kWidth <= elements; i += S::kWidth) S::store(out + i, S::load_numbers(number + i));
  for (; i < elements; ++i) store_number(F::to_float(number[i]), out + i);
}

template <class S, class F, class T>
void dequantize_streaming(const void* blocks, int64_t elements, T* out) {
  if constexpr (std::is_same_v<F, F32> && std::is_same_v<T, float>) {  // nothing to compute: no chunk between
    S::stream(blocks, elements * 4, out);
    return S::finish_streaming();
  }
  constexpr int64_t kChunkBytes = kStreamChunk / F::kBlock * int64_t(sizeof(typename F::Block));
  alignas(64) T chunk[kStreamChunk];
  const auto* bytes = static_cast<const char*>(blocks);
  for (; elements > 0; elements -= kStreamChunk, bytes += kChunkBytes, out += kStreamChunk) {
    const int64_t count = elements < kStreamChunk ? elements : kStreamChunk;
    dequantize_through_cache<S, F>(bytes, count, chunk);
    S::stream(chunk, count * int64_t(sizeof(T)), out);
  }
  S::finish_streaming();
}

template <class S>
struct SimdRows {
  template <class F, class T>
  struct Row {
    static void run(const void* blocks, int64_t elements, T* out) {
      METALLIC_DCHECK(elements % F::kBlock == 0);
      if constexpr (S::kStreams)
        if (elements * int64_t(sizeof(T)) >= kStreamBytes) return dequantize_streaming<S, F>(blocks, elements, out);
      dequantize_through_cache<S, F>(blocks, elements, out);
    }
  };

  static DequantizeRow to_float(Format format) {
    return visit_any_format(format, []<class F>(F) -> DequantizeRow { return Row<F, float>::run; });
  }
  static ConvertRow to(Format format, Format target) { return convert_function<Row>(format, target); }
};

}  // namespace metallic::quant::inline METALLIC_ISA
