// SentencePiece's BPE: starts from characters and joins the neighbours whose union has the highest score, leftmost
// first.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "metallic/result.h"
#include "metallic/tokenizer.h"
#include "tokenizer/token_table.h"

namespace metallic {

inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581, which SentencePiece writes for a space

// Works on raw bytes: where the vocabulary writes U+2581 there is a space. Immutable after build().
class ScoreMerger {
 public:
  // `pool` and `table` hold the raw bytes of the tokens; they and `vocab` must outlive this object.
  Status build(const Vocab& vocab, const BytePool& pool, const TokenTable& table);

  // Whether a piece of text can be cut before each space that follows a non-space, because no token spans such a place.
  bool words_are_independent() const { return words_are_independent_; }

  // Appends the ids of `text`: well-formed UTF-8, not empty, with spaces where SentencePiece has U+2581. A character
  // that has no token gives the tokens of its bytes, or `unknown`. O(n log n).
  void encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  void append_bytes(std::string_view character, std::vector<TokenId>& out) const;

  const Vocab* vocab_ = nullptr;
  const TokenTable* table_ = nullptr;
  std::array<TokenId, 256> token_of_byte_{};  // <0x00> to <0xFF>
  size_t longest_token_ = 0;                  // in bytes
  bool words_are_independent_ = true;
};

// Whether `token`, raw bytes, has a space behind something else.
bool spans_words(std::string_view token);

// The value of a byte token's text, "<0x0A>"; -1 if it is not of this form.
int parse_byte_token(std::string_view text);

}  // namespace metallic
