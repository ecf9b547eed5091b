#include "tokenizer/longest_match.h"

#include <charconv>

namespace metallic {

void LongestMatcher::build(const Vocab& vocab, const BytePool& pool) {
  unknown_ = vocab.unknown;
  std::vector<ByteTrie::Entry> entries;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const TokenType type = vocab.types.empty() ? TokenType::kNormal : vocab.types[id];
    if (type != TokenType::kControl && type != TokenType::kUnknown) entries.push_back({pool[id], TokenId(id)});
  }
  tokens_.build(std::move(entries));
}

void LongestMatcher::encode(std::string_view text, std::vector<TokenId>& out) const {
  for (size_t begin = 0; begin < text.size();) {
    TokenId longest = unknown_;
    size_t longest_end = begin + 1, end = begin;
    for (uint32_t node = ByteTrie::kRoot; end < text.size();) {
      node = tokens_.step(node, text[end++]);
      if (node == ByteTrie::kNoNode) break;
      if (tokens_.id(node) == kNoToken) continue;
      longest = tokens_.id(node);
      longest_end = end;
    }
    if (longest != kNoToken) out.push_back(longest);
    begin = longest_end;
  }
}

bool append_unescaped(std::string_view token, std::string& out) {
  for (size_t at = 0; at < token.size(); ++at) {
    if (token[at] != '\\') {
      out += token[at];
      continue;
    }
    if (++at == token.size()) return false;
    switch (token[at]) {
      case 't':
        out += '\t';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 'x': {
        uint8_t byte = 0;
        const std::string_view digits = token.substr(at + 1, 2);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
        if (error != std::errc() || digits.size() != 2 || end != digits.data() + 2) return false;
        out += char(byte);
        at += 2;
        break;
      }
      default:
        out += token[at];
    }
  }
  return true;
}

}  // namespace metallic
