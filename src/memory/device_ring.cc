#include "memory/device_ring.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace metallic {

Result<int> DeviceRing::add(const TensorView& host, bool not_for_few) {
  Item item;
  item.bytes = transfers_.packed_bytes(host);
  METALLIC_ASSIGN(item.pinned, transfers_.allocate_pinned(item.bytes));
  METALLIC_TRY(transfers_.pack(host, item.pinned.get()));
  item.weight = transfers_.unplaced(host);
  pinned_bytes_ += item.bytes;
  largest_ = std::max(largest_, item.bytes);
  const int number = int(items_.size());
  for (int order = 0; order < (not_for_few ? 1 : 2); ++order) {
    item.at[order] = int(orders_[order].size());
    orders_[order].push_back(number);
  }
  items_.push_back(std::move(item));
  return number;
}

Status DeviceRing::start(uint64_t ring_bytes) {
  if (ring_bytes < largest_)
    return fail(ErrorCode::kOutOfMemory,
                "a ring of {} bytes in the memory of the GPU cannot hold the largest matrix, of {}", ring_bytes,
                largest_);
  METALLIC_ASSIGN(memory_, backend_.allocate(ring_bytes));
  METALLIC_TRY(backend_.synchronize());
  places_ = RingAllocator(ring_bytes);
  copy_ahead();
  return {};
}

// Starts copies as far as there is room.
void DeviceRing::copy_ahead() {
  const std::vector<int>& order = orders_[order_];
  while (!order.empty() && next_copy_ - (next_use_ - held_) <= order.size()) {
    const Item& item = items_[size_t(order[next_copy_ % order.size()])];
    const std::optional<uint64_t> offset = places_.allocate(item.bytes);
    if (!offset) return;
    const uint64_t copy =
        transfers_.copy_ahead(static_cast<char*>(memory_.get()) + *offset, item.pinned.get(), item.bytes, mark_);
    statistics_.bytes_copied += item.bytes;
    entries_.push_back({next_copy_++, *offset, copy});
  }
}

// Lets go of what was copied for uses that are not to come. A place is only written again by the copy stream, which
// does one thing after the other.
void DeviceRing::skip_to(uint64_t use) {
  METALLIC_CHECK(held_ == 0);
  while (!entries_.empty() && entries_.front().use < use) {
    entries_.pop_front();
    places_.free_oldest();
  }
  next_use_ = use;
  next_copy_ = std::max(next_copy_, use);
}

void DeviceRing::choose_order(bool few) {
  if (order_ == int(few)) return;
  release_all();
  entries_.clear();
  places_.clear();
  next_copy_ = next_use_ = 0;
  order_ = int(few);
  copy_ahead();
}

const Weight* DeviceRing::acquire(int number) {
  METALLIC_CHECK(items_[size_t(number)].at[order_] >= 0);
  const uint64_t count = orders_[order_].size();
  const uint64_t ahead = (uint64_t(items_[size_t(number)].at[order_]) + count - next_use_ % count) % count;
  if (ahead > 0) {
    if (held_ > 0) return nullptr;
    skip_to(next_use_ + ahead);
  }
  copy_ahead();
  if (entries_.size() <= held_) {
    METALLIC_CHECK(held_ > 0);  // an empty ring holds any matrix
    return nullptr;
  }
  const Entry& entry = entries_[held_];
  METALLIC_CHECK(entry.use == next_use_);
  const Item& item = items_[size_t(number)];
  transfers_.wait_for_copy(entry.copy);
  transfers_.place(item.weight, static_cast<char*>(memory_.get()) + entry.offset);
  ++held_;
  ++next_use_;
  return &item.weight;
}

void DeviceRing::release_all() {
  if (held_ == 0) return;
  mark_ = transfers_.mark();
  for (; held_ > 0; --held_) {
    entries_.pop_front();
    places_.free_oldest();
  }
  copy_ahead();
}

}  // namespace metallic
