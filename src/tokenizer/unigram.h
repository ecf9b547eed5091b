// SentencePiece's unigram model: of all ways to write a text as tokens, the one whose scores have the highest sum.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"
#include "metallic/tokenizer.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/character_map.h"
#include "tokenizer/token_table.h"

namespace metallic {

// Works on raw bytes: where the vocabulary writes U+2581 there is a space. Immutable after build().
class UnigramModel {
 public:
  // `pool` holds the raw bytes of the tokens; it and `vocab` must outlive this object.
  Status build(const Vocab& vocab, const BytePool& pool);

  // Appends `text` as the model wants it: mapped characters, and spaces removed and added.
  void append_normalized(std::string_view text, std::string& out) const;

  // Whether a normalised text can be cut before each space that follows a non-space: no token spans such a place, and
  // a space alone is a token.
  bool words_are_independent() const { return words_are_independent_; }

  // Appends the ids of normalised text. Characters in a row that have no token are one `unknown` or, if the vocabulary
  // has tokens for all bytes, their bytes.
  void encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  void append_characters(std::string_view characters, const Vocab& vocab, bool& after_space, std::string& out) const;

  const Vocab* vocab_ = nullptr;
  CharacterMap map_;
  ByteTrie tokens_;
  std::vector<double> scores_;  // by id
  double unknown_score_ = 0;
  std::array<TokenId, 256> token_of_byte_{};
  bool has_bytes_ = false;
  bool words_are_independent_ = true;
};

}  // namespace metallic
