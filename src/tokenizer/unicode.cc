#include "tokenizer/unicode.h"

#include <array>

#include "base/check.h"

namespace metallic {
namespace {

constexpr uint32_t kRanges[] = {
#include "tokenizer/unicode_ranges.inc"
};

}  // namespace

std::unique_ptr<UnicodeTable> expand_class_ranges(std::span<const uint32_t> ranges) {
  auto table = std::make_unique<UnicodeTable>();
  size_t range = 0, blocks = 0;
  std::array<int, 256> block_of_class;  // the block whose code points all have a class; -1 if there is none yet
  block_of_class.fill(-1);
  const auto end_of = [&](size_t i) { return i + 1 < ranges.size() ? ranges[i + 1] >> 8 : 0x110000; };
  for (uint32_t block = 0; block < table->block.size(); ++block) {
    const uint32_t first = block * UnicodeTable::kBlock;
    while (end_of(range) <= first) ++range;
    const bool uniform = end_of(range) >= first + UnicodeTable::kBlock;
    int& known = block_of_class[uint8_t(ranges[range])];
    if (uniform && known >= 0) {
      table->block[block] = uint16_t(known);
      continue;
    }
    if (uniform) known = int(blocks);
    METALLIC_CHECK(blocks < table->classes.size());
    for (uint32_t i = 0; i < UnicodeTable::kBlock; ++i) {
      while (end_of(range) <= first + i) ++range;
      table->classes[blocks][i] = uint8_t(ranges[range]);
    }
    table->block[block] = uint16_t(blocks++);
  }
  return table;
}

const UnicodeTable& unicode_table() {
  static const std::unique_ptr<UnicodeTable> table = expand_class_ranges(kRanges);
  return *table;
}

}  // namespace metallic
