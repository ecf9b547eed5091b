// WordPiece: from the start of a word, again and again the longest token that fits; a word that no tokens make up is
// unknown as a whole.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"
#include "tokenizer/token_table.h"

namespace metallic {

// Immutable after build().
class WordPieceMatcher {
 public:
  // `table` holds tokens that begin a word with a space in front (GGUF writes U+2581), and tokens that continue one as
  // they are. It and `vocab` must outlive this object.
  void build(const Vocab& vocab, const BytePool& pool, const TokenTable& table);

  // Appends the ids of `word`: a space, then well-formed UTF-8 without spaces.
  void encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  static constexpr size_t kLongestWord = 100;  // code points; longer ones are unknown

  const TokenTable* table_ = nullptr;
  TokenId unknown_ = kNoToken;
  size_t longest_token_ = 0;  // bytes
};

}  // namespace metallic
