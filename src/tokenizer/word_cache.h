// Words that have been encoded before, with their ids: text repeats itself, and a hit costs less than one merge.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/page_array.h"
#include "metallic/tokenizer.h"
#include "tokenizer/hash.h"
#include "tokenizer/scratch.h"

namespace metallic {

// A word lies in one of the two places of its set, or of the set beside it. For one thread at a time. Whole words are
// compared, so no text can be made to give another's ids.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 256;  // bytes; longer words are rare and not worth the room
  static constexpr size_t kInline = 15;        // a word of up to this many bytes is its own key

  // Identifies a word: its bytes and, in the top byte, its size; or a hash, and a top byte of 0xff.
  struct Key {
    uint64_t low, high;
  };

  WordCache() : sets_(kSets) {}

  // `readable` is how many bytes can be read at word.data(), at least word.size(). word.size() is at least 1.
  static Key key_of(std::string_view word, size_t readable) {
    const size_t size = word.size();
    if (size > kInline) return {hash_bytes(word), kLongTag | size};
    std::array<uint64_t, 2> bytes{};
    if (readable >= sizeof bytes) [[likely]] {
      std::memcpy(&bytes, word.data(), sizeof bytes);
    } else {
      std::memcpy(&bytes, word.data(), size);
    }
    return {bytes[0] & kMasks[size][0], (bytes[1] & kMasks[size][1]) | uint64_t(size) << 56};
  }

  // Where the word would be; fetched while other work goes on.
  size_t prefetch(Key key) const {
    const size_t set = mix(key.low ^ kHashSeed, key.high ^ kHashSeed2) % kSets;
    __builtin_prefetch(&sets_[set]);
    return set;
  }

  // Writes the word's ids to `out`, which then points behind them, if it is a word of up to 15 bytes that is known and
  // has one or two ids; else nothing happens. Room for two ids is needed in any case. `set` is what prefetch(key) gave.
  bool write_short(Key key, size_t set, TokenId*& out) const {
    const Entry* entry = find(key, set);
    if (entry == nullptr || entry->count > entry->ids.size()) [[unlikely]]
      return false;
    std::memcpy(out, entry->ids.data(), sizeof entry->ids);
    out += entry->count;
    return true;
  }

  // Appends the word's ids to `out` if it is known.
  bool append(Key key, size_t set, std::string_view word, Scratch<TokenId>& out) const {
    const Entry* entry = find(key, set);
    if (entry == nullptr) entry = find(key, set ^ 1);
    if (entry == nullptr) return false;
    if (key.high >= kLongTag && std::string_view(words_).substr(entry->word, word.size()) != word) return false;
    if (entry->count <= entry->ids.size()) {
      out.append(std::span(entry->ids).first(entry->count));
    } else {
      out.append({ids_.data() + entry->ids[0], size_t(entry->count - kElsewhere)});
    }
    return true;
  }

  void add(Key key, size_t set, std::string_view word, std::span<const TokenId> ids) {
    if (words_.size() + word.size() > kPoolLimit || ids_.size() + ids.size() > kPoolLimit) clear();
    Entry& entry = place(set);
    const bool elsewhere = ids.size() > entry.ids.size() || key.high >= kLongTag;
    entry = {key, 0, uint16_t(ids.size() + (elsewhere ? kElsewhere : 0)), {}};
    if (key.high >= kLongTag) {
      entry.word = uint32_t(words_.size());
      words_ += word;
    }
    if (!elsewhere) {
      std::ranges::copy(ids, entry.ids.begin());
    } else {
      entry.ids[0] = TokenId(ids_.size());
      ids_.insert(ids_.end(), ids.begin(), ids.end());
    }
  }

 private:
  static constexpr size_t kSets = 1 << 15;
  static constexpr size_t kPoolLimit = 1 << 20;
  static constexpr uint16_t kElsewhere = 0x4000;
  static constexpr uint64_t kLongTag = uint64_t{0xff} << 56;

  struct Entry {
    Key key{};
    uint32_t word = 0;             // where a long word's bytes are in words_
    uint16_t count = 0;            // of ids; kElsewhere more if the word is a long one or has more than two
    std::array<TokenId, 2> ids{};  // or, if they are elsewhere, ids[0] is where in ids_
  };
  struct alignas(64) Set {
    std::array<Entry, 2> ways;
  };
  static_assert(sizeof(Set) == 64);

  static_assert(std::endian::native == std::endian::little);
  static constexpr auto kMasks = [] {  // by size: the bits of a word's bytes
    std::array<std::array<uint64_t, 2>, kInline + 1> masks{};
    for (size_t size = 0; size <= kInline; ++size) {
      for (size_t byte = 0; byte < size; ++byte) masks[size][byte / 8] |= uint64_t{0xff} << 8 * (byte % 8);
    }
    return masks;
  }();

  // Without a branch between the two ways, which no predictor would guess.
  const Entry* find(Key key, size_t set) const {
    const std::array<Entry, 2>& ways = sets_[set].ways;
    const auto differs = [&](const Entry& entry) { return (entry.key.low ^ key.low) | (entry.key.high ^ key.high); };
    const Entry& entry = ways[differs(ways[0]) == 0 ? 0 : 1];
    return differs(entry) == 0 ? &entry : nullptr;
  }

  // An empty entry of the set or of its neighbour; if there is none, the set's older one gives way.
  Entry& place(size_t set) {
    for (const size_t candidate : {set, set ^ 1}) {
      for (Entry& entry : sets_[candidate].ways) {
        if (entry.key.high == 0) return entry;
      }
    }
    sets_[set].ways[1] = sets_[set].ways[0];
    return sets_[set].ways[0];
  }

  void clear() {
    std::memset(static_cast<void*>(sets_.data()), 0, sets_.bytes());
    words_.clear();
    ids_.clear();
  }

  PageArray<Set> sets_;  // empty where it is zero
  std::string words_;
  std::vector<TokenId> ids_;
};

}  // namespace metallic
