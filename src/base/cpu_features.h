// What the processor that runs this can do, beyond the least of its family.
#pragma once

#include <cstdint>

namespace metallic {

struct CpuFeatures {
  bool avx2 = false;         // x86-64: AVX2, FMA and F16C
  bool avx512 = false;       // these and AVX-512 F, BW, DQ and VL
  bool avx_vnni = false;     // AVX2 and its own form of the VNNI instructions
  bool avx512_vnni = false;  // AVX-512 as above and VNNI
  bool avx512_bf16 = false;  // AVX-512 as above and products of bfloat16
  bool amx_int8 = false;     // AVX-512 and VNNI as above, and tiles of bytes, whose state the system saves
  bool fast_bf16 = false;    // which do more a cycle than float's: AMD's. Intel's (to Emerald Rapids) do half as much
  bool amd = false;          // x86-64: by AMD
  bool neon = false;         // 64-bit ARM: always
  bool dot = false;          // 64-bit ARM: sdot and udot, four products of bytes summed into 32 bits
  bool i8mm = false;         // 64-bit ARM: smmla and usmmla, products of 2x8 matrices of bytes
};

// Of this processor; found once.
const CpuFeatures& cpu_features();

// Asks the system for leave to use tiles (amx_int8), for all threads of this process; false: they must not be used.
// Signals then need larger stacks: with an alternative one that is too small, the system refuses.
bool request_tiles();

// Of a 64-bit ARM processor whose kernel says these AT_HWCAP and AT_HWCAP2.
CpuFeatures arm_features(uint64_t hwcap, uint64_t hwcap2);

}  // namespace metallic
