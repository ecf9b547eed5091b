#include "tokenizer/unigram.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/spm.h"

namespace metallic {
namespace {

constexpr double kUnknownPenalty = 10;  // below the worst score

}  // namespace

Status UnigramModel::build(const Vocab& vocab, const BytePool& pool) {
  vocab_ = &vocab;
  METALLIC_TRY(map_.build(vocab.character_map));
  token_of_byte_.fill(kNoToken);
  std::vector<ByteTrie::Entry> entries;
  double lowest = std::numeric_limits<double>::max();
  bool has_space = false;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const TokenType type = vocab.types.empty() ? TokenType::kNormal : vocab.types[id];
    const int byte = type == TokenType::kByte ? parse_byte_token(vocab.tokens[id]) : -1;
    if (byte >= 0 && token_of_byte_[size_t(byte)] == kNoToken) token_of_byte_[size_t(byte)] = TokenId(id);
    if (type != TokenType::kNormal && type != TokenType::kUserDefined) continue;
    if (type == TokenType::kNormal) lowest = std::min(lowest, double(vocab.scores[id]));
    entries.push_back({pool[id], TokenId(id)});
    has_space |= pool[id] == " ";
    words_are_independent_ &= !spans_words(pool[id]);
  }
  words_are_independent_ &= has_space;
  has_bytes_ = std::ranges::find(token_of_byte_, kNoToken) == token_of_byte_.end();
  unknown_score_ = (lowest == std::numeric_limits<double>::max() ? 0 : lowest) - kUnknownPenalty;
  scores_.assign(vocab.scores.begin(), vocab.scores.end());
  tokens_.build(std::move(entries));
  return {};
}

void UnigramModel::append_normalized(std::string_view text, std::string& out) const {
  const Vocab& vocab = *vocab_;
  const size_t start = out.size();
  const bool prefix = vocab.add_space_prefix && !vocab.space_as_suffix;
  bool after_space = vocab.remove_extra_spaces;  // then spaces that follow are left out
  bool has_text = false;
  for (size_t at = 0; at < text.size();) {
    CharacterMap::Match match = map_.longest_match(text.substr(at));
    if (match.size == 0) {
      match.size = size_t(decode_utf8(text.substr(at)).length);
      match.replacement = text.substr(at, match.size);
    }
    at += match.size;
    if (!has_text && vocab.remove_extra_spaces && match.replacement == " ") continue;
    if (!has_text && prefix) out += ' ';
    has_text = true;
    append_characters(match.replacement, vocab, after_space, out);
  }
  if (vocab.remove_extra_spaces) {
    while (out.size() > start && out.back() == ' ') out.pop_back();
  }
  if (has_text && vocab.add_space_prefix && vocab.space_as_suffix) out += ' ';
}

// `characters` are what one place of the text has become.
void UnigramModel::append_characters(std::string_view characters, const Vocab& vocab, bool& after_space,
                                     std::string& out) const {
  if (after_space) characters.remove_prefix(std::min(characters.find_first_not_of(' '), characters.size()));
  if (characters.empty()) return;
  after_space = vocab.remove_extra_spaces && characters.back() == ' ';
  for (size_t at = 0; at < characters.size();) {  // a U+2581 of the text itself is a space, too
    const size_t mark =
        vocab.escape_spaces ? std::min(characters.find(kSpaceMark, at), characters.size()) : characters.size();
    out.append(characters.substr(at, mark - at));
    if (mark < characters.size()) out += ' ';
    at = mark + kSpaceMark.size();
  }
}

void UnigramModel::encode(std::string_view text, std::vector<TokenId>& out) const {
  struct Best {
    double score = -std::numeric_limits<double>::infinity();  // of the best way to write text[0, here)
    uint32_t begin = 0;                                       // where its last token begins
    TokenId id = kNoToken;                                    // that token; kNoToken for an unknown character
  };
  std::vector<Best> best(text.size() + 1);
  best[0].score = 0;
  const auto offer = [&](size_t begin, size_t end, TokenId id, double score) {
    if (best[begin].score + score > best[end].score) best[end] = {best[begin].score + score, uint32_t(begin), id};
  };
  for (size_t begin = 0; begin < text.size();) {
    const size_t next = begin + size_t(decode_utf8(text.substr(begin)).length);
    bool has_token = false;  // for the character alone
    size_t end = begin;
    for (uint32_t node = ByteTrie::kRoot; end < text.size();) {
      node = tokens_.step(node, text[end++]);
      if (node == ByteTrie::kNoNode) break;
      const TokenId id = tokens_.id(node);
      if (id == kNoToken) continue;
      has_token |= end == next;
      offer(begin, end, id, scores_[size_t(id)]);
    }
    if (!has_token) offer(begin, next, kNoToken, unknown_score_);
    begin = next;
  }

  const size_t first = out.size();  // backwards, then turned round
  bool after_unknown = false;
  for (size_t end = text.size(); end > 0; end = best[end].begin) {
    const TokenId id = best[end].id;
    if (id != kNoToken) {
      out.push_back(id);
    } else if (has_bytes_) {
      for (size_t at = end; at > best[end].begin; --at) out.push_back(token_of_byte_[uint8_t(text[at - 1])]);
    } else if (!after_unknown && vocab_->unknown != kNoToken) {
      out.push_back(vocab_->unknown);
    }
    after_unknown = id == kNoToken;
  }
  std::reverse(out.begin() + ptrdiff_t(first), out.end());
}

}  // namespace metallic
