// Working memory that grows to the largest need and is kept.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/check.h"

namespace metallic::cpu {

// Owned and used by one thread at a time.
class Scratch {
 public:
  // At least `count` floats, aligned to 64 bytes, of no particular value; valid until the next call.
  float* floats(int64_t count) {
    if (count > capacity_) {
      constexpr int64_t kAlignment = 64;
      const int64_t bytes = (count * int64_t(sizeof(float)) + kAlignment - 1) / kAlignment * kAlignment;
      memory_.reset();
      memory_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, size_t(bytes))));
      METALLIC_CHECK(memory_ != nullptr);  // far smaller than the activations, which are allocated with an error
      capacity_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float[], Free> memory_;
  int64_t capacity_ = 0;
};

}  // namespace metallic::cpu
