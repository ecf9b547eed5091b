// Words that have been encoded before, with their ids: text repeats itself, and a hit costs less than one merge.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"
#include "tokenizer/hash.h"
#include "tokenizer/scratch.h"

namespace metallic {

// Two-way associative; a new word pushes out the older of its two neighbours. For one thread at a time. Whole words are
// compared, so no text can be made to give another's ids.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 64;  // bytes; longer words are rare and not worth the room
  static constexpr size_t kInline = 15;       // a word of up to this many bytes is its own key

  // Identifies a word: its bytes and, in the top byte, its size; or a hash, and a top byte of 0xff.
  struct Key {
    uint64_t low, high;
  };

  WordCache() : sets_(static_cast<Set*>(std::aligned_alloc(alignof(Set), kSets * sizeof(Set)))) {
    if (sets_ == nullptr) throw std::bad_alloc();
    clear();
  }
  ~WordCache() { std::free(sets_); }
  WordCache(const WordCache&) = delete;
  WordCache& operator=(const WordCache&) = delete;

  // `readable` is how many bytes can be read at word.data(), at least word.size(). word.size() is 1 to kLongestWord.
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

  // Appends the word's ids to `out` if it is known.
  bool append(Key key, std::string_view word, Scratch<TokenId>& out) const {
    const Set& set = sets_[mix(key.low ^ kHashSeed, key.high ^ kHashSeed2) % kSets];
    for (const Entry& entry : set.ways) {
      if (entry.key.low != key.low || entry.key.high != key.high) continue;
      if (key.high >= kLongTag && std::string_view(words_).substr(entry.word, word.size()) != word) continue;
      if (entry.count <= entry.ids.size()) [[likely]] {
        out.append_few(entry.ids, entry.count);
      } else {
        out.append({ids_.data() + entry.ids[0], entry.count});
      }
      return true;
    }
    return false;
  }

  void add(Key key, std::string_view word, std::span<const TokenId> ids) {
    if (words_.size() + word.size() > kPoolLimit || ids_.size() + ids.size() > kPoolLimit) clear();
    Set& set = sets_[mix(key.low ^ kHashSeed, key.high ^ kHashSeed2) % kSets];
    set.ways[1] = set.ways[0];
    Entry& entry = set.ways[0];
    entry = {key, 0, uint16_t(ids.size()), {}};
    if (key.high >= kLongTag) {
      entry.word = uint32_t(words_.size());
      words_ += word;
    }
    if (ids.size() <= entry.ids.size()) {
      std::ranges::copy(ids, entry.ids.begin());
    } else {
      entry.ids[0] = TokenId(ids_.size());
      ids_.insert(ids_.end(), ids.begin(), ids.end());
    }
  }

 private:
  static constexpr size_t kSets = 1 << 15;
  static constexpr size_t kPoolLimit = 1 << 20;
  static constexpr uint64_t kLongTag = uint64_t{0xff} << 56;

  struct Entry {
    Key key{};
    uint32_t word = 0;  // where a long word's bytes are in words_
    uint16_t count = 0;
    std::array<TokenId, 2> ids{};  // or, if there are more, ids[0] is where they are in ids_
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

  void clear() {
    std::memset(static_cast<void*>(sets_), 0, kSets * sizeof(Set));
    words_.clear();
    ids_.clear();
  }

  Set* sets_;
  std::string words_;
  std::vector<TokenId> ids_;
};

}  // namespace metallic
