// Products of many rows on the tensor cores: weights are decoded to bfloat16, a panel at a time, and cuBLASLt
// multiplies.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "backend/cuda/commands.h"
#include "backend/cuda/stream.h"

namespace metallic::cuda {

class Gemm {
 public:
  // cuBLASLt is looked for when the program runs; without it nothing can be multiplied.
  static std::unique_ptr<Gemm> create(Stream& stream);
  virtual ~Gemm() = default;

  struct Product {
    std::span<const WeightRef> weights;  // their outputs lie side by side
    int rows = 0;
    const void* x = nullptr;  // (rows, columns), dense, bfloat16 or half
    void* out = nullptr;
    int64_t stride = 0;
    bool out_bf16 = false;  // or floats
    bool accumulate = false;
    // Called before the weight of this number is read, and with their count when all have been; may be empty.
    std::function<void(size_t)> reach = {};
  };
  // Whether x is to be in half precision, as weights in F16 are; other weights want bfloat16.
  static bool wants_half(const WeightRef& weight);
  // Whether the product is possible: a multiple of 8 columns, rows of out that begin at multiples of 16 bytes.
  virtual bool can_multiply(const Product& product) const = 0;
  // out = x * weights^T, or added to out. False: the library failed.
  virtual bool multiply(const Product& product) = 0;
  virtual uint64_t generation() const = 0;
};

}  // namespace metallic::cuda
