// Finds the texts of special tokens in a prompt.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"

namespace metallic {

// A set of strings, each with the id it stands for. Immutable once built.
class TextMatcher {
 public:
  struct Entry {
    std::string text;  // not empty
    TokenId id;
  };
  struct Match {
    size_t begin, size;
    TokenId id;
  };

  // Of equal texts, the first stays.
  void build(std::vector<Entry> entries);

  // Sets `out` to the occurrences in `text`, in order and without overlap. Where some overlap, the longest comes first,
  // of equally long ones the leftmost: as if each text, from the longest to the shortest, were cut out wherever it
  // still is.
  void find(std::string_view text, std::vector<Match>& out) const;

 private:
  size_t next_candidate(std::string_view text, size_t from) const;
  // The longest entry at text[at], up to `longest` bytes; size 0 if there is none.
  Match longest_at(std::string_view text, size_t at, size_t longest) const;
  // The same as find, for text[begin, end).
  void resolve(std::string_view text, size_t begin, size_t end, size_t longest, std::vector<Match>& out) const;

  std::vector<Entry> entries_;            // sorted by text
  std::array<uint32_t, 257> first_of_{};  // entries_[first_of_[b], first_of_[b + 1]) start with byte b
  int only_first_byte_ = -1;              // if all entries start with the same byte
};

}  // namespace metallic
