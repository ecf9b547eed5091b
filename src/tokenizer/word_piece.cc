#include "tokenizer/word_piece.h"

#include <algorithm>

namespace metallic {
namespace {

bool continues_character(char c) { return (uint8_t(c) & 0xc0) == 0x80; }

}  // namespace

void WordPieceMatcher::build(const Vocab& vocab, const BytePool& pool, const TokenTable& table) {
  table_ = &table;
  unknown_ = vocab.unknown;
  for (size_t id = 0; id < pool.size(); ++id) longest_token_ = std::max(longest_token_, pool[id].size());
}

void WordPieceMatcher::encode(std::string_view word, std::vector<TokenId>& out) const {
  const auto characters = size_t(std::ranges::count_if(word, [](char c) { return !continues_character(c); })) - 1;
  const size_t before = out.size();
  bool known = characters <= kLongestWord;
  for (size_t begin = 0; known && begin < word.size();) {
    TokenId id = kNoToken;
    size_t end = std::min(word.size(), begin + longest_token_);
    const size_t shortest = begin == 0 ? 2 : 1;  // the space alone is no token of text
    for (; end >= begin + shortest; --end) {
      if (end < word.size() && continues_character(word[end])) continue;
      id = table_->find(word.substr(begin, end - begin));
      if (id != kNoToken) break;
    }
    known = id != kNoToken;
    if (known) out.push_back(id);
    begin = end;
  }
  if (known) return;
  out.resize(before);
  out.push_back(unknown_);
}

}  // namespace metallic
