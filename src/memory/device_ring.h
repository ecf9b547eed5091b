// Weights that lie in pinned host memory, or come to such memory from disk, and are copied to a ring in the device's
// memory ahead of their use, in one fixed order, again and again.
//
// Ownership: the ring owns the pinned memory of what is in RAM (that of the disk's ring is the disk ring's), the device
// memory and the weights that point into it; backend and ring share their life through the one who made both. Threads:
// all calls come from the backend's thread, and none waits for the device: everything is put in order by its streams.
// Promise: operations between acquire(i) and the release_all() after it find weight i whole at its place; a place is
// written again only when the device is done with the operations before that release. A place of the disk's ring is
// released when the copy from it is done.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "backend/transfers.h"
#include "memory/disk_ring.h"
#include "memory/ring_allocator.h"

namespace metallic {

struct DeviceRingStatistics {
  uint64_t bytes_copied = 0;
};

// The matrices that come in a step, in the order of their use: all of them; in a long step without what the host has
// of the head, which multiplies few outputs; in a step of few tokens without what the host has of anything.
enum class RingOrder { kAll, kLong, kFew };

class DeviceRing {
 public:
  DeviceRing(Backend& backend, Transfers& transfers) : backend_(backend), transfers_(transfers) {}
  ~DeviceRing();  // waits for the copies that are under way
  DeviceRing(const DeviceRing&) = delete;
  DeviceRing& operator=(const DeviceRing&) = delete;

  // Loading, in the order of use: `host` is brought into the device's layout, into pinned memory. Returns its number.
  // It comes in the orders up to `last`.
  Result<int> add(const TensorView& host, RingOrder last);
  // The same for a piece of a file, whose bytes are a matrix of this shape and format.
  int add_from_disk(const TensorView& shape, int piece);
  // What of the ring a matrix from RAM or from disk needs.
  static uint64_t room_for(const Transfers& transfers, const TensorView& shape, bool from_disk);
  // After all are added; `disk` has the pieces, if there are any. kOutOfMemory says what is missing.
  Status start(uint64_t ring_bytes, DiskRing* disk);

  // The order from here on, if it is another one; the next to come is matrix `next` of it, or the first.
  void choose_order(RingOrder order, int next = -1);
  bool comes(int number) const { return items_[size_t(number)].at[size_t(order_)] >= 0; }

  // The weight at its place, for operations called from here on until release_all(). Null if what is held is to be
  // released first: half of the ring is there for what comes meanwhile. kIo if the disk failed: what is held has been
  // released then.
  Result<const Weight*> acquire(int number);
  void release_all();
  bool holds_any() const { return held_ > 0; }

  uint64_t pinned_bytes() const { return pinned_bytes_; }
  const DeviceRingStatistics& statistics() const { return statistics_; }

 private:
  static constexpr int kOrders = 3;
  struct Item {
    Weight weight;
    std::shared_ptr<void> pinned;
    uint64_t bytes = 0;    // of the ring
    int piece = -1;        // from disk
    TensorView file_view;  // likewise: its shape
    int at[kOrders] = {-1, -1, -1};
  };
  struct Entry {
    uint64_t use = 0, offset = 0, copy = 0;
  };
  struct Read {
    int piece = -1;
    uint64_t copy = 0;
  };
  int add(Item item, RingOrder last);
  Status copy_ahead(bool wait);
  Result<uint64_t> copy_from_disk(const Item& item, char* to);
  void release_reads(bool wait);
  void skip_to(uint64_t use);
  void drop_all();

  Backend& backend_;
  Transfers& transfers_;
  std::vector<Item> items_;
  std::vector<int> orders_[kOrders];  // of items
  RingOrder order_ = RingOrder::kAll;
  uint64_t pinned_bytes_ = 0, largest_ = 0;
  std::shared_ptr<void> memory_;  // of the device
  RingAllocator places_{0};
  std::deque<Entry> entries_;  // copied or being copied, in order; the first `held_` are in use
  size_t held_ = 0;
  uint64_t held_bytes_ = 0;
  uint64_t next_copy_ = 0;  // the first use that is not being copied
  uint64_t next_use_ = 0;   // the first that is not held
  uint64_t last_copy_ = 0;  // started
  uint64_t mark_ = 0;       // behind all operations that used what is released
  DiskRing* disk_ = nullptr;
  std::deque<Read> reads_;  // pieces that are held for copies, in order
  DeviceRingStatistics statistics_;
};

}  // namespace metallic
