// Products of many rows on the tensor cores: weights are decoded to bfloat16, a panel at a time, and cuBLASLt
// multiplies.
#pragma once

#include <memory>

#include "backend/cuda/commands.h"
#include "backend/cuda/stream.h"

namespace metallic::cuda {

class Gemm {
 public:
  // cuBLASLt is looked for when the program runs; without it run() always says no.
  static std::unique_ptr<Gemm> create(Stream& stream);
  virtual ~Gemm() = default;
  // out = x * weight^T + bias, or added to out. False: nothing was done. `same_x`: x is that of the call before.
  virtual bool run(const LinearArgs& linear, const LinearArgs::Target& target, bool same_x) = 0;
  virtual uint64_t generation() const = 0;
};

}  // namespace metallic::cuda
