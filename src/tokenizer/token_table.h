// The bytes of every token in one block of memory, and the way from bytes to id.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/page_array.h"
#include "metallic/tokenizer.h"
#include "tokenizer/hash.h"

namespace metallic {

// An array of byte strings, one behind the other.
class BytePool {
 public:
  void reserve(size_t strings, size_t bytes) {
    ends_.reserve(strings);
    bytes_.reserve(bytes);
  }
  std::string& open() { return bytes_; }  // append the next string's bytes here, then close()
  void close() { ends_.push_back(uint32_t(bytes_.size())); }
  std::string_view operator[](size_t index) const {
    const size_t begin = index == 0 ? 0 : ends_[index - 1];
    return {bytes_.data() + begin, ends_[index] - begin};
  }
  size_t size() const { return ends_.size(); }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

// Bytes to id: open addressing, linear probing. The first id added under some bytes stays. Keeps no bytes of its own:
// the strings are those of `pool`, which must outlive it.
class TokenTable {
 public:
  void reset(const BytePool* pool, size_t capacity) {
    pool_ = pool;
    slots_ = PageArray<Slot>(table_slots(capacity));
    mask_ = slots_.size() - 1;
    first_.assign(capacity, false);
  }

  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }

  void add(std::span<const TokenId> ids) {
    constexpr size_t kBatch = 16;  // as for the look-ups: fetch all, then add all
    std::array<uint64_t, kBatch> hashes;
    for (; !ids.empty(); ids = ids.subspan(std::min(kBatch, ids.size()))) {
      const auto batch = ids.first(std::min(kBatch, ids.size()));
      for (size_t i = 0; i < batch.size(); ++i) prefetch(hashes[i] = hash_bytes((*pool_)[size_t(batch[i])]));
      for (size_t i = 0; i < batch.size(); ++i) add(batch[i], hashes[i]);
    }
  }

  // Whether find(bytes) is `id`; cheaper, and false where it is not known without looking for it.
  bool is_token(TokenId id, std::string_view bytes) const {
    return id >= 0 && size_t(id) < first_.size() && first_[size_t(id)] && same_bytes((*pool_)[size_t(id)], bytes);
  }
  TokenId find(std::string_view bytes) const { return find(bytes, hash_bytes(bytes)); }
  TokenId find(std::string_view bytes, uint64_t hash) const {
    for (size_t at = hash & mask_; slots_[at].place != 0; at = (at + 1) & mask_) {
      if (matches(slots_[at], hash, bytes)) return slots_[at].id();
    }
    return kNoToken;
  }

 private:
  void add(TokenId id, uint64_t hash) {
    const std::string_view bytes = (*pool_)[size_t(id)];
    size_t at = hash & mask_;
    for (; slots_[at].place != 0; at = (at + 1) & mask_) {
      if (matches(slots_[at], hash, bytes)) return;
    }
    first_[size_t(id)] = true;
    slots_[at] = {uint32_t(hash >> 32), uint32_t(id) + 1};
  }

  struct Slot {
    uint32_t tag;    // upper half of the hash
    uint32_t place;  // the id + 1; 0 where the slot is empty

    TokenId id() const { return TokenId(place) - 1; }
  };
  bool matches(const Slot& slot, uint64_t hash, std::string_view bytes) const {
    return slot.tag == uint32_t(hash >> 32) && same_bytes((*pool_)[size_t(slot.id())], bytes);
  }

  const BytePool* pool_ = nullptr;
  PageArray<Slot> slots_;
  std::vector<bool> first_;  // by id: it is in the table
  size_t mask_ = 0;
};

}  // namespace metallic
