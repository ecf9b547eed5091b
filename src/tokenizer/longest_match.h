// RWKV's tokenizer: at each place of the text the longest token that begins there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/token_table.h"

namespace metallic {

// Immutable after build().
class LongestMatcher {
 public:
  // `pool` holds the raw bytes of the tokens. It and `vocab` must outlive this object.
  void build(const Vocab& vocab, const BytePool& pool);

  // Appends the ids of `text`. A byte where no token begins gives `unknown`, or nothing if there is no such token.
  void encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  ByteTrie tokens_;
  TokenId unknown_ = kNoToken;
};

// Appends the bytes that `token` stands for: \t, \n, \r, \xNN, and a backslash before what else is meant as it is, as
// Python shows bytes. False if an escape has no end.
bool append_unescaped(std::string_view token, std::string& out);

}  // namespace metallic
