#include "tokenizer/spm.h"

#include <algorithm>
#include <queue>

#include "base/error.h"
#include "base/utf8.h"

namespace metallic {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

bool spans_words(std::string_view token) {
  for (size_t i = 1; i < token.size(); ++i) {
    if (token[i] == ' ' && token[i - 1] != ' ') return true;
  }
  return false;
}

int parse_byte_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const int high = hex_digit(text[3]), low = hex_digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Status ScoreMerger::build(const Vocab& vocab, const BytePool& pool, const TokenTable& table) {
  vocab_ = &vocab;
  table_ = &table;
  token_of_byte_.fill(kNoToken);
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const int byte = parse_byte_token(vocab.tokens[id]);
    const TokenType type = !vocab.types.empty() ? vocab.types[id] : byte < 0 ? TokenType::kNormal : TokenType::kByte;
    if (type == TokenType::kControl || type == TokenType::kUnknown) continue;
    if (type == TokenType::kByte) {
      if (byte < 0) {
        return fail(ErrorCode::kCorrupt, "token {} is \"{}\", of type byte; expected \"<0x00>\" to \"<0xFF>\"", id,
                    vocab.tokens[id]);
      }
      TokenId& token = token_of_byte_[size_t(byte)];
      if (token == kNoToken) token = TokenId(id);
      continue;
    }
    longest_token_ = std::max(longest_token_, pool[id].size());
    words_are_independent_ &= !spans_words(pool[id]);
  }
  return {};
}

void ScoreMerger::encode(std::string_view text, std::vector<TokenId>& out) const {
  struct Symbol {
    uint32_t begin, size;  // in text; size 0 once it has been joined to its left neighbour
    uint32_t previous, next;
    TokenId id;
  };
  struct Entry {
    float score;
    uint32_t left, right, size;  // symbols, and bytes of both together
    TokenId result;
    bool operator<(const Entry& other) const { return score != other.score ? score < other.score : left > other.left; }
  };
  constexpr uint32_t kNone = 0xffffffff;
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const uint32_t size = uint32_t(decode_utf8(text.substr(at)).length), index = uint32_t(symbols.size());
    symbols.push_back(
        {uint32_t(at), size, index == 0 ? kNone : index - 1, index + 1, table_->find(text.substr(at, size))});
    at += size;
  }
  symbols.back().next = kNone;

  std::vector<Entry> entries;
  const auto candidate = [&](uint32_t left, uint32_t right, auto&& add_entry) {
    const uint32_t size = symbols[left].size + symbols[right].size;
    if (size > longest_token_) return;
    const TokenId result = table_->find(text.substr(symbols[left].begin, size));
    if (result != kNoToken) add_entry(Entry{vocab_->scores[size_t(result)], left, right, size, result});
  };
  for (uint32_t i = 0; i + 1 < symbols.size(); ++i) candidate(i, i + 1, [&](Entry entry) { entries.push_back(entry); });
  std::priority_queue<Entry> queue(std::less<Entry>{}, std::move(entries));
  const auto enqueue = [&](Entry entry) { queue.push(entry); };
  while (!queue.empty()) {
    const Entry entry = queue.top();
    queue.pop();
    Symbol& left = symbols[entry.left];
    Symbol& right = symbols[entry.right];
    if (left.size == 0 || right.size == 0 || left.size + right.size != entry.size) continue;  // out of date
    left.size = entry.size;
    left.id = entry.result;
    left.next = right.next;
    right.size = 0;
    if (left.previous != kNone) candidate(left.previous, entry.left, enqueue);
    if (left.next != kNone) {
      symbols[left.next].previous = entry.left;
      candidate(entry.left, left.next, enqueue);
    }
  }
  for (uint32_t i = 0; i != kNone; i = symbols[i].next) {
    if (symbols[i].id != kNoToken) {
      out.push_back(symbols[i].id);
      continue;
    }
    const std::string_view character = text.substr(symbols[i].begin, symbols[i].size);
    append_bytes(character == " " ? kSpaceMark : character, out);
  }
}

void ScoreMerger::append_bytes(std::string_view character, std::vector<TokenId>& out) const {
  for (const char c : character) {
    if (token_of_byte_[uint8_t(c)] == kNoToken) {
      if (vocab_->unknown != kNoToken) out.push_back(vocab_->unknown);
      return;
    }
  }
  for (const char c : character) out.push_back(token_of_byte_[uint8_t(c)]);
}

}  // namespace metallic
