// Hashing of short byte strings and of pairs of ids, for the tokenizer's flat tables.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace metallic {

// The 128-bit product of two words, folded: a strong and cheap mixing step.
inline uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide(a) * b;
  return uint64_t(product) ^ uint64_t(product >> 64);
}

inline constexpr uint64_t kHashSeed = 0x9e3779b97f4a7c15, kHashSeed2 = 0xd6e8feb86659fd93;

inline uint64_t load_up_to_8(const char* p, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, p, size);
  return word;
}

inline uint64_t hash_bytes(std::string_view bytes) {
  const char* p = bytes.data();
  size_t size = bytes.size();
  uint64_t hash = kHashSeed ^ size;
  for (; size > 8; p += 8, size -= 8) hash = mix(load_up_to_8(p, 8) ^ hash, kHashSeed2);
  uint64_t tail = 0;
  if (size == 8) {
    tail = load_up_to_8(p, 8);
  } else if (size >= 4) {  // two loads that overlap
    tail = load_up_to_8(p, 4) | load_up_to_8(p + size - 4, 4) << 32;
  } else if (size > 0) {
    tail = uint64_t(uint8_t(p[0])) | uint64_t(uint8_t(p[size / 2])) << 8 | uint64_t(uint8_t(p[size - 1])) << 16;
  }
  return mix(tail ^ hash, kHashSeed2 ^ bytes.size());
}

// a == b, faster than memcmp for strings of a few bytes.
inline bool same_bytes(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const char *p = a.data(), *q = b.data();
  size_t size = a.size();
  for (; size >= 8; p += 8, q += 8, size -= 8) {
    if (load_up_to_8(p, 8) != load_up_to_8(q, 8)) return false;
  }
  if (size >= 4) {
    return ((load_up_to_8(p, 4) ^ load_up_to_8(q, 4)) |
            (load_up_to_8(p + size - 4, 4) ^ load_up_to_8(q + size - 4, 4))) == 0;
  }
  return size == 0 || (p[0] == q[0] && p[size / 2] == q[size / 2] && p[size - 1] == q[size - 1]);
}

inline uint64_t hash_pair(uint32_t left, uint32_t right) {
  return mix((uint64_t(left) << 32 | right) ^ kHashSeed, kHashSeed2);
}

// The number of slots (a power of two) for `count` entries, at most two thirds of them full.
inline size_t table_slots(size_t count) { return std::bit_ceil(count * 3 / 2 + 8); }

}  // namespace metallic
