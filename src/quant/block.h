// What the formats are built from: numbers as they lie in a file, and the contract that every format header keeps.
//
// A format is a struct of this shape, named like the format (here Q4_K):
//   kFormat                its id
//   kBlock                 weights in a block
//   kGroup                 weights in a group, 16 or 32: those that share scale and offset. It divides kBlock.
//   kHasOffset             false: every offset is 0 and must not be added (it would turn -0 into +0)
//   kCodeMin, kCodeMax     the range of its codes: what an integer dot product has to reckon with
//   Block                  the bytes of a block; alignment 1, so that any address will do
//   decode(block, group, codes, scale, offset)
//       writes the kGroup codes of a group and its scale and offset (0 without kHasOffset), such that
//           w[i] = scale * codes[i] + offset
//       evaluated in float, rounded after the product and after the sum, is bit for bit the weight that the format
//       defines. Any bytes are valid input. Host and device share it.
//   encode(weights, block) optional: the inverse, for kBlock weights
// The plain types (plain.h) have kBlock = 1 and to_float / from_float instead of decode / encode.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/isa.h"
#include "metallic/format.h"

// A constant array that decode() indexes, on the host or on a device.
#if defined(__CUDA_ARCH__)
#define METALLIC_TABLE static __device__ constexpr
#else
#define METALLIC_TABLE inline constexpr
#endif

namespace metallic::quant {
inline namespace METALLIC_ISA {

static_assert(std::endian::native == std::endian::little, "blocks are read as they lie in the file: little-endian");

// A number at any address.
template <class T>
struct Unaligned {
  uint8_t bytes[sizeof(T)];

  METALLIC_HOST_DEVICE constexpr operator T() const { return std::bit_cast<T>(*this); }
  METALLIC_HOST_DEVICE static constexpr Unaligned of(T value) { return std::bit_cast<Unaligned>(value); }
};

// A float16 at any address, used as the float it stands for.
struct Half {
  Unaligned<uint16_t> bits;

  METALLIC_HOST_DEVICE constexpr operator float() const { return half_to_float(bits); }
  METALLIC_HOST_DEVICE static constexpr Half of(float value) { return {Unaligned<uint16_t>::of(float_to_half(value))}; }
};

METALLIC_HOST_DEVICE constexpr int low_nibble(uint8_t byte) { return byte & 15; }
METALLIC_HOST_DEVICE constexpr int high_nibble(uint8_t byte) { return byte >> 4; }

// Nibble `index` of an array of them: the low half of a byte comes first.
METALLIC_HOST_DEVICE constexpr int nibble(const uint8_t* bytes, int index) {
  return (bytes[index / 2] >> (4 * (index % 2))) & 15;
}

}  // namespace METALLIC_ISA
}  // namespace metallic::quant
