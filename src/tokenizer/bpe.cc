#include "tokenizer/bpe.h"

#include <algorithm>
#include <queue>

#include "base/error.h"
#include "tokenizer/byte_alphabet.h"

namespace metallic {
namespace {

// Up to here a scan over all pairs for each merge is faster than a queue.
constexpr size_t kShortWord = 32;

// One line of `merges`: its two halves as raw bytes.
struct MergeText {
  std::string storage;  // at least as long as the line: left, then right
  size_t left_size = 0, size = 0;

  std::string_view both() const { return {storage.data(), size}; }
  std::string_view left() const { return both().substr(0, left_size); }
  std::string_view right() const { return both().substr(left_size); }

  bool parse(std::string_view line) {
    const ByteAlphabet& alphabet = ByteAlphabet::get();
    if (storage.size() < line.size()) storage.resize(line.size() * 2);
    char* end = storage.data();
    const size_t space = alphabet.decode_until_space(line, end);
    left_size = size_t(end - storage.data());
    if (space >= line.size() || line[space] != ' ' || space == 0) return false;
    const std::string_view rest = line.substr(space + 1);
    const bool known = alphabet.decode_until_space(rest, end) == rest.size();
    size = size_t(end - storage.data());
    return known;
  }
};

}  // namespace

Status BytePairMerger::build(const Vocab& vocab, const TokenTable& table) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = char(byte);
    token_of_byte_[size_t(byte)] = table.find({&c, 1});
  }
  merges_ = PageArray<Merge>(table_slots(vocab.merges.size()));
  mask_ = merges_.size() - 1;

  // In batches: what a look-up needs is fetched while the others of its batch are at work.
  constexpr size_t kBatch = 16;
  std::array<MergeText, kBatch> texts;
  std::array<std::array<uint64_t, 2>, kBatch> hashes;
  TokenId last_result = kNoToken;
  std::array<Merge, kBatch> found;
  for (size_t begin = 0; begin < vocab.merges.size(); begin += kBatch) {
    const size_t count = std::min(kBatch, vocab.merges.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      MergeText& text = texts[i];
      if (!text.parse(vocab.merges[begin + i])) {
        return fail(ErrorCode::kCorrupt, "merge {} is \"{}\", which is not two tokens with a space between", begin + i,
                    vocab.merges[begin + i]);
      }
      hashes[i] = {hash_bytes(text.left()), hash_bytes(text.right())};
      for (const uint64_t hash : hashes[i]) table.prefetch(hash);
    }
    for (size_t i = 0; i < count; ++i) {
      const TokenId left = table.find(texts[i].left(), hashes[i][0]);
      const TokenId right = table.find(texts[i].right(), hashes[i][1]);
      // Most vocabularies have the results of their merges in order.
      const bool in_order = table.is_token(last_result + 1, texts[i].both());
      const TokenId result = in_order ? last_result + 1 : table.find(texts[i].both());
      last_result = result;
      if (left == kNoToken || right == kNoToken || result == kNoToken) {
        const char* which = left == kNoToken ? "its left half" : right == kNoToken ? "its right half" : "what it makes";
        return fail(ErrorCode::kCorrupt, "merge {}, \"{}\": {} is not in the vocabulary", begin + i,
                    vocab.merges[begin + i], which);
      }
      found[i] = {uint32_t(left), uint32_t(right), uint32_t(begin + i), result};
      __builtin_prefetch(&merges_[hash_pair(found[i].left, found[i].right) & mask_], 1);
    }
    for (size_t i = 0; i < count; ++i) add(found[i]);
  }
  return {};
}

void BytePairMerger::add(const Merge& merge) {
  size_t at = hash_pair(merge.left, merge.right) & mask_;
  for (; !merges_[at].empty(); at = (at + 1) & mask_) {
    if (merges_[at].left == merge.left && merges_[at].right == merge.right)
      return;  // the better of two equal ones stays
  }
  merges_[at] = merge;
}

void BytePairMerger::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (word.size() <= kShortWord)
    encode_short(word, out);
  else
    encode_long(word, out);
}

void BytePairMerger::encode_short(std::string_view word, std::vector<TokenId>& out) const {
  std::array<TokenId, kShortWord> ids;
  std::array<Candidate, kShortWord> pairs;  // pairs[i] is what ids[i] and ids[i + 1] make
  size_t count = 0;
  for (const char c : word) ids[count++] = token_of_byte_[uint8_t(c)];
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == kNoMerge) break;
    ids[best] = pairs[best].result;
    --count;
    for (size_t i = best + 1; i < count; ++i) ids[i] = ids[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = find(ids[best - 1], ids[best]);
    if (best + 1 < count) pairs[best] = find(ids[best], ids[best + 1]);
  }
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] != kNoToken) out.push_back(ids[i]);
  }
}

void BytePairMerger::encode_long(std::string_view word, std::vector<TokenId>& out) const {
  struct Symbol {
    TokenId id;
    uint32_t previous, next;
  };
  struct Entry {
    uint32_t rank, left, right;         // left and right are symbols
    TokenId left_id, right_id, result;  // as they were when the pair was queued
    bool operator<(const Entry& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  constexpr uint32_t kNone = 0xffffffff;
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (const char c : word) {
    const uint32_t at = uint32_t(symbols.size());
    symbols.push_back({token_of_byte_[uint8_t(c)], at == 0 ? kNone : at - 1, at + 1});
  }
  symbols.back().next = kNone;

  std::vector<Entry> entries;
  const auto candidate = [&](uint32_t left, uint32_t right, auto&& add_entry) {
    const Candidate found = find(symbols[left].id, symbols[right].id);
    if (found.rank != kNoMerge)
      add_entry(Entry{found.rank, left, right, symbols[left].id, symbols[right].id, found.result});
  };
  for (uint32_t i = 0; i + 1 < symbols.size(); ++i) candidate(i, i + 1, [&](Entry entry) { entries.push_back(entry); });
  std::priority_queue<Entry> queue(std::less<Entry>{}, std::move(entries));
  const auto enqueue = [&](Entry entry) { queue.push(entry); };
  while (!queue.empty()) {
    const Entry entry = queue.top();
    queue.pop();
    Symbol& left = symbols[entry.left];
    // Out of date if either half has been merged since.
    if (left.id != entry.left_id || left.next != entry.right || symbols[entry.right].id != entry.right_id) continue;
    left.id = entry.result;
    left.next = symbols[entry.right].next;
    symbols[entry.right].id = kNoToken;
    if (left.next != kNone) {
      symbols[left.next].previous = entry.left;
      candidate(entry.left, left.next, enqueue);
    }
    if (left.previous != kNone) candidate(left.previous, entry.left, enqueue);
  }
  for (uint32_t i = 0; i != kNone; i = symbols[i].next) {
    if (symbols[i].id != kNoToken) out.push_back(symbols[i].id);
  }
}

}  // namespace metallic
