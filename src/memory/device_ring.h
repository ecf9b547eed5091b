// Weights that lie in pinned host memory and are copied to a ring in the device's memory ahead of their use, in one
// fixed order, again and again.
//
// Ownership: the ring owns the pinned memory, the device memory and the weights that point into it; backend and ring
// share their life through the one who made both. Threads: all calls come from the backend's thread, and none waits for
// the device: everything is put in order by its streams.
// Promise: operations between acquire(i) and the release_all() after it find weight i whole at its place; a place is
// written again only when the device is done with the operations before that release.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "backend/transfers.h"
#include "memory/ring_allocator.h"

namespace metallic {

struct DeviceRingStatistics {
  uint64_t bytes_copied = 0;
};

class DeviceRing {
 public:
  DeviceRing(Backend& backend, Transfers& transfers) : backend_(backend), transfers_(transfers) {}

  // Loading, in the order of use: `host` is brought into the device's layout, into pinned memory. Returns its number.
  // What is not for few tokens is left out of one of the two orders.
  Result<int> add(const TensorView& host, bool not_for_few);
  // After all are added. kOutOfMemory says what is missing.
  Status start(uint64_t ring_bytes);

  // The order of the next step: of all matrices, or without those that are not for few tokens.
  void choose_order(bool few);

  // The weight at its place, for operations called from here on until release_all(). Null if there is no room before
  // what is held is released.
  const Weight* acquire(int number);
  void release_all();
  bool holds_any() const { return held_ > 0; }

  uint64_t pinned_bytes() const { return pinned_bytes_; }
  const DeviceRingStatistics& statistics() const { return statistics_; }

 private:
  struct Item {
    Weight weight;
    std::shared_ptr<void> pinned;
    uint64_t bytes = 0;
    int at[2] = {-1, -1};  // in the orders
  };
  struct Entry {
    uint64_t use = 0, offset = 0, copy = 0;
  };
  void copy_ahead();
  void skip_to(uint64_t use);

  Backend& backend_;
  Transfers& transfers_;
  std::vector<Item> items_;
  std::vector<int> orders_[2];  // of items: all; for few tokens
  int order_ = 0;
  uint64_t pinned_bytes_ = 0, largest_ = 0;
  std::shared_ptr<void> memory_;  // of the device
  RingAllocator places_{0};
  std::deque<Entry> entries_;  // copied or being copied, in order; the first `held_` are in use
  size_t held_ = 0;
  uint64_t next_copy_ = 0;  // the first use that is not being copied
  uint64_t next_use_ = 0;   // the first that is not held
  uint64_t mark_ = 0;       // behind all operations that used what is released
  DeviceRingStatistics statistics_;
};

}  // namespace metallic
