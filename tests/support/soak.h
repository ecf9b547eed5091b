// Many requests, and no more memory than at the beginning.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>

#include "support/resident_memory.h"

namespace metallic::testing {

// Calls request(i) for i from 0, 250 times, or 10,000 with METALLIC_SOAK in the environment, until one fails: after the
// first hundred no more memory is kept.
template <class Request>
void expect_flat_memory(const Request& request) {
  [[maybe_unused]] int64_t before = 0;  // not read by sanitized builds
  const int requests = std::getenv("METALLIC_SOAK") ? 10'000 : 250;
  for (int i = 0; i < requests; ++i) {
    if (i == 100) before = resident_bytes();
    request(i);
    if (::testing::Test::HasFatalFailure()) return;
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep what was freed, or notes of it
  EXPECT_LE(resident_bytes() - before, 256 << 10);
#endif
}

}  // namespace metallic::testing
