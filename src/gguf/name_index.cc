#include "gguf/name_index.h"

#include <algorithm>
#include <numeric>

namespace metallic {

NameIndex::NameIndex(std::vector<std::string_view> names) : names_(std::move(names)), order_(names_.size()) {
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(), [this](uint32_t a, uint32_t b) {
    const int compared = names_[a].compare(names_[b]);
    return compared != 0 ? compared < 0 : a < b;
  });
}

std::optional<size_t> NameIndex::find(std::string_view name) const {
  const auto found =
      std::lower_bound(order_.begin(), order_.end(), name,
                       [this](uint32_t index, std::string_view wanted) { return names_[index] < wanted; });
  if (found == order_.end() || names_[*found] != name) return std::nullopt;
  return *found;
}

std::optional<std::pair<size_t, size_t>> NameIndex::duplicate() const {
  const auto found = std::adjacent_find(order_.begin(), order_.end(),
                                        [this](uint32_t a, uint32_t b) { return names_[a] == names_[b]; });
  if (found == order_.end()) return std::nullopt;
  return std::pair<size_t, size_t>(found[0], found[1]);
}

}  // namespace metallic
