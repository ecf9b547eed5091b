#include "tokenizer/character_map.h"

#include <bit>
#include <cstring>

#include "base/error.h"

namespace metallic {
namespace {

// A unit of the array. The unit of a string's last byte has a leaf as its first child, which holds a value instead.
uint32_t children_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }
uint32_t label_of(uint32_t unit) { return unit & 0x800000ff; }  // a leaf has the top bit, so that it is no byte's
bool has_leaf(uint32_t unit) { return (unit & 0x100) != 0; }
uint32_t value_of(uint32_t leaf) { return leaf & 0x7fffffff; }

}  // namespace

Status CharacterMap::build(std::string_view bytes) {
  if (bytes.empty()) return {};
  static_assert(std::endian::native == std::endian::little);
  uint32_t size = 0;
  if (bytes.size() >= sizeof size) std::memcpy(&size, bytes.data(), sizeof size);
  if (size == 0 || size % sizeof(uint32_t) != 0 || size > bytes.size() - sizeof size) {
    return fail(ErrorCode::kCorrupt, "the precompiled character map has {} bytes, of which {} are said to be its array",
                bytes.size(), size);
  }
  units_.resize(size / sizeof(uint32_t));
  std::memcpy(units_.data(), bytes.data() + sizeof size, size);
  replacements_ = bytes.substr(sizeof size + size);
  if (replacements_.empty() || replacements_.back() != '\0')
    return fail(ErrorCode::kCorrupt, "the last replacement of the precompiled character map has no end");
  return {};
}

CharacterMap::Match CharacterMap::longest_match(std::string_view text) const {
  Match match;
  if (units_.empty()) return match;
  size_t at = children_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    at ^= uint8_t(text[i]);
    if (at >= units_.size() || label_of(units_[at]) != uint8_t(text[i])) break;
    const uint32_t unit = units_[at];
    at ^= children_of(unit);
    if (!has_leaf(unit)) continue;
    if (at >= units_.size() || value_of(units_[at]) >= replacements_.size()) break;
    match = {i + 1, replacements_.data() + value_of(units_[at])};  // ends at a NUL, at the latest the last one
  }
  return match;
}

}  // namespace metallic
