// What this process holds in memory.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace metallic::testing {

// Bytes of this process's own memory and of what it has touched of mapped files. Counted page by page by the kernel:
// /proc/self/statm adds up counters of each processor, which are late by megabytes where there are many.
inline int64_t resident_bytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string word; file >> word;)
    if (int64_t kib = 0; word == "Rss:" && file >> kib) return kib << 10;
  ADD_FAILURE() << "no Rss in /proc/self/smaps_rollup";
  return 0;
}

}  // namespace metallic::testing
