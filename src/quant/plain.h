// The plain types: every element is a number of its own. F64 and I64 round to the nearest float.
#pragma once

#include "base/float8.h"
#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

template <Format kId, class Number>
struct Plain {
  static constexpr Format kFormat = kId;
  static constexpr int kBlock = 1;
  struct Block {
    Unaligned<Number> number;
  };

  METALLIC_HOST_DEVICE static constexpr float to_float(const Block& block) { return float(Number(block.number)); }
};

struct F64 : Plain<Format::kF64, double> {};
struct I8 : Plain<Format::kI8, int8_t> {};
struct I16 : Plain<Format::kI16, int16_t> {};
struct I32 : Plain<Format::kI32, int32_t> {};
struct I64 : Plain<Format::kI64, int64_t> {};

struct F32 : Plain<Format::kF32, float> {
  METALLIC_HOST_DEVICE static constexpr void from_float(float value, Block& block) {
    block.number = Unaligned<float>::of(value);
  }
};

struct F16 : Plain<Format::kF16, uint16_t> {
  METALLIC_HOST_DEVICE static constexpr float to_float(const Block& block) { return half_to_float(block.number); }
  METALLIC_HOST_DEVICE static constexpr void from_float(float value, Block& block) {
    block.number = Unaligned<uint16_t>::of(float_to_half(value));
  }
};

struct BF16 : Plain<Format::kBF16, uint16_t> {
  METALLIC_HOST_DEVICE static constexpr float to_float(const Block& block) { return bfloat16_to_float(block.number); }
  METALLIC_HOST_DEVICE static constexpr void from_float(float value, Block& block) {
    block.number = Unaligned<uint16_t>::of(float_to_bfloat16(value));
  }
};

struct F8_E4M3 : Plain<Format::kF8_E4M3, uint8_t> {
  METALLIC_HOST_DEVICE static constexpr float to_float(const Block& block) { return e4m3_to_float(block.number); }
  METALLIC_HOST_DEVICE static constexpr void from_float(float value, Block& block) {
    block.number = Unaligned<uint8_t>::of(float_to_e4m3(value));
  }
};

static_assert(sizeof(F64::Block) == 8 && sizeof(F32::Block) == 4 && sizeof(F16::Block) == 2);
static_assert(sizeof(BF16::Block) == 2 && sizeof(F8_E4M3::Block) == 1 && sizeof(I8::Block) == 1 &&
              sizeof(I16::Block) == 2);
static_assert(sizeof(I32::Block) == 4 && sizeof(I64::Block) == 8);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant
