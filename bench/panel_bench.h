// What the benchmarks of panel kernels share.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "backend/cpu/panels.h"

namespace metallic::cpu {

// Those that METALLIC_ISA names, or the best.
inline const PanelKernels& bench_kernels() {
  const char* isa = std::getenv("METALLIC_ISA");
  return find_panel_kernels(isa != nullptr ? isa : "");
}

double seconds_of(const auto& job) {
  const auto start = std::chrono::steady_clock::now();
  job();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Blocks of any format: no scale is large or no number.
inline std::vector<uint8_t> random_blocks(int64_t bytes) {
  std::vector<uint8_t> blocks(static_cast<size_t>(bytes));
  uint32_t state = 1;
  for (uint8_t& byte : blocks) byte = uint8_t((state = state * 1664525u + 1013904223u) >> 26);
  return blocks;
}

}  // namespace metallic::cpu
