// Looks for values that no sound file holds: NaN, infinities, and scales that are absurdly large. Reads only the
// numbers that can be wrong (for most formats one or two in a block), so that memory is the limit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "metallic/format.h"

namespace metallic {

// What was seen in a run of blocks. Runs of one tensor, scanned by different threads, are added up.
struct BlockScan {
  uint64_t impossible = 0;                 // blocks with a number that cannot be
  uint64_t first_impossible = UINT64_MAX;  // the first of them
  const char* what = nullptr;              // and its fault: "the scale is NaN or infinite"
  float largest = 0;                       // the largest magnitude of a scale, minimum or plain number
  uint64_t largest_block = 0;
  int64_t exponents = 0;  // sum of the binary exponents of all scales that are not zero; none for plain numbers
  uint64_t scales = 0;    // how many those are

  void add(const BlockScan& other);
};

// Scans `count` blocks (elements, for plain types); block numbers in the result begin with `first`.
BlockScan scan_blocks(Format format, const void* blocks, uint64_t count, uint64_t first);

// The verdict on a whole tensor: what is wrong and in which block; none if nothing is. Plain numbers above
// `largest_number` are absurd, scales above 1024, and scales that are both above 16 and 4096 times the tensor's
// (geometric) mean.
struct BadBlock {
  uint64_t block;
  std::string what;
};
std::optional<BadBlock> judge(Format format, const BlockScan& scan, double largest_number);

}  // namespace metallic
