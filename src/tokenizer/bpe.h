// Byte pair encoding of one piece of text: starts from bytes and applies the best merge, leftmost first, until none is
// left.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/page_array.h"
#include "metallic/result.h"
#include "metallic/tokenizer.h"
#include "tokenizer/token_table.h"

namespace metallic {

// Immutable after build().
class BytePairMerger {
 public:
  // `table` knows the raw bytes of the vocabulary's tokens. kCorrupt for a merge of, or to, what is no token.
  Status build(const Vocab& vocab, const TokenTable& table);

  // Appends the ids of `word`, which is not empty. A byte that has no token joins nothing and gives nothing. O(n log
  // n).
  void encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  static constexpr uint32_t kNoMerge = 0xffffffff;  // worse than any rank

  // What a merge makes is no half of it: a slot of zeros is an empty one.
  struct Merge {
    uint32_t left, right;
    uint32_t rank;  // lower is better
    TokenId result;

    bool empty() const { return left == uint32_t(result); }
  };
  struct Candidate {
    uint32_t rank;
    TokenId result;
  };

  void add(const Merge& merge);
  Candidate find(TokenId left, TokenId right) const {
    const uint64_t hash = hash_pair(uint32_t(left), uint32_t(right));
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const Merge& merge = merges_[at];
      if (merge.empty()) return {kNoMerge, kNoToken};
      if (merge.left == uint32_t(left) && merge.right == uint32_t(right)) return {merge.rank, merge.result};
    }
  }
  void encode_short(std::string_view word, std::vector<TokenId>& out) const;
  void encode_long(std::string_view word, std::vector<TokenId>& out) const;

  std::array<TokenId, 256> token_of_byte_{};  // kNoToken where the vocabulary has none
  PageArray<Merge> merges_;                   // open addressing by (left, right)
  size_t mask_ = 0;
};

}  // namespace metallic
