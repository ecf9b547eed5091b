// Finds an entry by its name. Sorted, not hashed: no choice of names in a file can make it slow.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace metallic {

class NameIndex {
 public:
  NameIndex() = default;
  // The names stay where they are: they must outlive the index.
  explicit NameIndex(std::vector<std::string_view> names);

  std::optional<size_t> find(std::string_view name) const;
  // Two entries of one name (the earlier first), if there are such.
  std::optional<std::pair<size_t, size_t>> duplicate() const;

 private:
  std::vector<std::string_view> names_;
  std::vector<uint32_t> order_;  // indices into names_, by name and then by index
};

template <class Entries, class Member>
NameIndex index_names(const Entries& entries, Member member) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const auto& entry : entries) names.push_back(entry.*member);
  return NameIndex(std::move(names));
}

}  // namespace metallic
