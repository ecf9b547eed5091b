// Places in a ring of bytes, given out and taken back in one order. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace metallic {

// A place is one range. What is lost to fragmentation is, at any time, less than the largest place asked for: the end
// of the ring where a place did not fit any more. So a ring of at least twice the largest place always has room for
// one more while one is held.
class RingAllocator {
 public:
  explicit RingAllocator(uint64_t bytes) : bytes_(bytes) {}

  uint64_t bytes() const { return bytes_; }
  bool empty() const { return places_.empty(); }
  uint64_t used() const { return used_; }  // by places, without what is lost

  // The offset of a new place; none while there is no room. `size`: 1 to bytes().
  std::optional<uint64_t> allocate(uint64_t size) {
    if (places_.empty()) {
      if (size > bytes_) return std::nullopt;
      return add(0, size);
    }
    const uint64_t oldest = places_.front().offset, end = places_.back().offset + places_.back().size;
    if (places_.back().offset >= oldest) {  // not wrapped: room behind, then before
      if (size <= bytes_ - end) return add(end, size);
      if (size <= oldest) return add(0, size);
      return std::nullopt;
    }
    if (size <= oldest - end) return add(end, size);
    return std::nullopt;
  }

  // Takes the oldest place back.
  void free_oldest() {
    used_ -= places_.front().size;
    places_.pop_front();
  }
  void clear() {
    places_.clear();
    used_ = 0;
  }

 private:
  struct Place {
    uint64_t offset, size;
  };
  uint64_t add(uint64_t offset, uint64_t size) {
    places_.push_back({offset, size});
    used_ += size;
    return offset;
  }

  uint64_t bytes_;
  uint64_t used_ = 0;
  std::deque<Place> places_;  // the oldest first
};

}  // namespace metallic
