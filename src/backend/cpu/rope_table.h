// Sines and cosines of the angles of a batch, kept between operations: all layers of a step rotate by the same ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace metallic::cpu {

struct RopeTable {
  std::vector<int32_t> positions;
  std::vector<float> frequencies;
  float magnitude = 0.0f;
  std::vector<float> cosines, sines;  // (positions, frequencies), times magnitude
};

// The last few tables: a model has one or two sets of frequencies, and queries and keys share the positions.
class RopeTables {
 public:
  const RopeTable& get(std::span<const int32_t> positions, std::span<const float> frequencies, float magnitude);

 private:
  std::array<RopeTable, 4> tables_;
  size_t next_ = 0;  // the one to be replaced
};

}  // namespace metallic::cpu
