// A thread's share of numbered items, of which others may take some.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace metallic::cpu {

// Items [begin, end), fewer than 2^32. Any thread may take some; only the owner sets it, when nothing is left.
class alignas(64) Share {
 public:
  void set(int64_t begin, int64_t end) { items_.store(pack(begin, end), std::memory_order_relaxed); }
  int64_t left() const {
    const uint64_t items = items_.load(std::memory_order_relaxed);
    return end_of(items) - begin_of(items);
  }

  // The first or the last half, or `least`, or all if there are fewer; false if nothing is left.
  bool take_first(int64_t least, int64_t& begin, int64_t& end) {
    return take(least, [&](int64_t first, int64_t last, int64_t count) {
      begin = first;
      end = first + count;
      return pack(end, last);
    });
  }
  bool take_last(int64_t least, int64_t& begin, int64_t& end) {
    return take(least, [&](int64_t first, int64_t last, int64_t count) {
      begin = last - count;
      end = last;
      return pack(first, begin);
    });
  }

 private:
  static uint64_t pack(int64_t begin, int64_t end) { return uint64_t(begin) << 32 | uint64_t(end); }
  static int64_t begin_of(uint64_t items) { return int64_t(items >> 32); }
  static int64_t end_of(uint64_t items) { return int64_t(items & 0xffffffff); }

  template <class Rest>
  bool take(int64_t least, const Rest& rest) {
    uint64_t items = items_.load(std::memory_order_relaxed);
    for (;;) {
      const int64_t left = end_of(items) - begin_of(items);
      if (left == 0) return false;
      const int64_t count = std::min(left, std::max(least, (left + 1) / 2));
      if (items_.compare_exchange_weak(items, rest(begin_of(items), end_of(items), count), std::memory_order_relaxed))
        return true;
    }
  }

  std::atomic<uint64_t> items_{0};
};

}  // namespace metallic::cpu
