// The numbers of Tensor::random_uniform: a counter-based generator, so that any thread of any device can make element i
// alone.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace metallic {

// Two 32-bit keys for a block of 2^32 elements, from the seed and the number of the block (splitmix64 steps; Steele,
// Lea and Flood 2014).
struct RandomKeys {
  uint32_t first, second;
};

METALLIC_HOST_DEVICE constexpr uint64_t split_mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

METALLIC_HOST_DEVICE constexpr RandomKeys random_keys(uint64_t seed, uint64_t index) {
  const uint64_t mixed = split_mix(split_mix(seed) ^ (index >> 32));
  return {uint32_t(mixed), uint32_t(mixed >> 32)};
}

// 32 random bits for the element `low` of its block: a keyed form of a two-multiply xorshift hash of low bias.
METALLIC_HOST_DEVICE constexpr uint32_t random_bits(RandomKeys keys, uint32_t low) {
  uint32_t x = low ^ keys.first;
  x = (x ^ (x >> 16)) * 0x21f0aaadu;
  x = ((x ^ (x >> 15)) + keys.second) * 0x735a2d97u;
  return x ^ (x >> 15);
}

// 24 bits make a float in [0, 1); scaled with two roundings, never fused, on every device. A result that rounds up to
// `hi` is pulled back below it by the caller's choice of `range` and the min.
METALLIC_HOST_DEVICE inline float random_float(uint32_t bits, float lo, float range, float below_hi) {
  const float unit = float(bits >> 8) * 5.9604644775390625e-08f;
  const float scaled = unit * range;
  const float value = lo + scaled;
  return value < below_hi ? value : below_hi;
}

}  // namespace metallic
