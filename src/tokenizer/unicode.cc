#include "tokenizer/unicode.h"

#include <algorithm>

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
  for (uint32_t block = 0; block < table->block.size(); ++block) {
    std::array<uint8_t, UnicodeTable::kBlock> classes;
    for (uint32_t i = 0; i < classes.size(); ++i) {
      const uint32_t code_point = block * UnicodeTable::kBlock + i;
      while (range + 1 < ranges.size() && ranges[range + 1] >> 8 <= code_point) ++range;
      classes[i] = uint8_t(ranges[range]);
    }
    const auto known = table->classes.begin() + std::ptrdiff_t(blocks);
    const auto found = std::find(table->classes.begin(), known, classes);
    if (found == known) {
      METALLIC_CHECK(blocks < table->classes.size());
      table->classes[blocks++] = classes;
    }
    table->block[block] = uint16_t(found - table->classes.begin());
  }
  return table;
}

const UnicodeTable& unicode_table() {
  static const std::unique_ptr<UnicodeTable> table = expand_class_ranges(kRanges);
  return *table;
}

}  // namespace metallic
