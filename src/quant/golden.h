// The golden files of tools/make-format-golden.py, for tests.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "metallic/format.h"

namespace metallic {

inline uint32_t crc32(const void* data, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; ++i) {
    crc ^= static_cast<const uint8_t*>(data)[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

// Empty if there is no such file.
inline std::vector<char> golden_bytes(const std::string& name) {
  std::ifstream in(std::string(METALLIC_SOURCE_DIR "/tests/data/formats/") + name + ".bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Golden {
  std::vector<char> blocks;
  std::vector<uint32_t> crc;   // of the weights of each block, NaN replaced by 0x7fc00000
  std::vector<float> weights;  // of the first blocks
  int64_t block_count() const { return int64_t(crc.size()); }
};

// An empty one if the file is missing or has not the size it says.
inline Golden read_golden(const FormatInfo& info) {
  const std::vector<char> bytes = golden_bytes(info.name);
  uint32_t counts[2];
  if (bytes.size() < sizeof(counts)) return {};
  std::memcpy(counts, bytes.data(), sizeof(counts));
  const size_t block_bytes = size_t(counts[0]) * size_t(info.block_bytes);
  Golden golden;
  golden.blocks.resize(block_bytes);
  golden.crc.resize(counts[0]);
  golden.weights.resize(size_t(counts[1]) * size_t(info.block_elements));
  if (bytes.size() != 8 + block_bytes + 4 * golden.crc.size() + 4 * golden.weights.size()) return {};
  std::memcpy(golden.blocks.data(), bytes.data() + 8, block_bytes);
  std::memcpy(golden.crc.data(), bytes.data() + 8 + block_bytes, 4 * golden.crc.size());
  std::memcpy(golden.weights.data(), bytes.data() + 8 + block_bytes + 4 * golden.crc.size(), 4 * golden.weights.size());
  return golden;
}

}  // namespace metallic
