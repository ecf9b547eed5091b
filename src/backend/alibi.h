// Attention with linear biases (ALiBi, arXiv:2108.12409): a score loses slope * distance, with a slope for each head.
#pragma once

#include <cmath>
#include <cstdint>

namespace metallic {

// The slope of one of `heads` heads. With n heads, n a power of two, head i (from 1) has 2^(-max_bias * i / n). Other
// counts take those of the largest power of two below, and then every second one of twice that many (section 3 and the
// authors' code).
inline float alibi_slope(float max_bias, int64_t heads, int64_t head) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  const double step = double(max_bias) / double(power);
  const double exponent = head < power ? step * double(head + 1) : step / 2 * double(2 * (head - power) + 1);
  return float(std::exp2(-exponent));
}

}  // namespace metallic
