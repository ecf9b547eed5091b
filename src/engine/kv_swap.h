// Keys and values of sequences that wait for pages, kept in the host's memory meanwhile.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/kv_cache.h"

namespace metallic {

// Copies of the pages of one sequence, in its order. Their memory belongs to it and is counted by the KvSwap that made
// it, which it must not outlive.
class SwappedPages {
 public:
  SwappedPages() = default;
  SwappedPages(SwappedPages&& other) noexcept { *this = std::move(other); }
  SwappedPages& operator=(SwappedPages&& other) noexcept;
  ~SwappedPages() { drop(); }
  int count() const { return count_; }
  void drop();

 private:
  friend class KvSwap;
  std::shared_ptr<std::byte> memory_;
  uint64_t bytes_ = 0;
  uint64_t* counted_in_ = nullptr;
  int count_ = 0;
};

// One thread at a time, the backend's. `cache` and `backend` outlive it.
class KvSwap {
 public:
  // Holds at most `bytes`.
  KvSwap(Backend& backend, const KvCache& cache, uint64_t bytes) : backend_(backend), cache_(cache), limit_(bytes) {}

  // Of all layers.
  uint64_t page_bytes() const;
  uint64_t bytes_used() const { return used_; }

  // Waits for what computes with the pages, then copies them. kOutOfMemory if there is no room; kDevice if the copy
  // failed. Nothing is kept after an error.
  Result<SwappedPages> out(std::span<const int32_t> pages);
  // Copies pages[first..] back into pages of the cache, and waits for that.
  Status in(const SwappedPages& pages, int first, std::span<const int32_t> to);

 private:
  template <class Copy>
  void each_part(const SwappedPages& pages, int first, std::span<const int32_t> numbers, const Copy& copy) const;

  Backend& backend_;
  const KvCache& cache_;
  uint64_t limit_, used_ = 0;
};

}  // namespace metallic
