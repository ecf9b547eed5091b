#include "memory/device_ring.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace metallic {

DeviceRing::~DeviceRing() {
  if (last_copy_ > 0) transfers_.finish_copy(last_copy_);  // one after the other: all of them
}

Result<int> DeviceRing::add(const TensorView& host, RingOrder last) {
  Item item;
  item.bytes = room_for(transfers_, host, false);
  METALLIC_ASSIGN(item.pinned, transfers_.allocate_pinned(item.bytes));
  METALLIC_TRY(transfers_.pack(host, item.pinned.get()));
  item.weight = transfers_.unplaced(host);
  pinned_bytes_ += item.bytes;
  return add(std::move(item), last);
}

uint64_t DeviceRing::room_for(const Transfers& transfers, const TensorView& shape, bool from_disk) {
  return transfers.packed_bytes(shape) + (from_disk ? transfers.working_bytes(shape) : 0);
}

int DeviceRing::add_from_disk(const TensorView& shape, int piece) {
  Item item;
  item.bytes = room_for(transfers_, shape, true);
  item.piece = piece;
  item.file_view = shape;
  item.weight = transfers_.unplaced(shape);
  return add(std::move(item), RingOrder::kFew);
}

int DeviceRing::add(Item item, RingOrder last) {
  largest_ = std::max(largest_, item.bytes);
  const int number = int(items_.size());
  for (int order = 0; order <= int(last); ++order) {
    item.at[order] = int(orders_[order].size());
    orders_[order].push_back(number);
  }
  items_.push_back(std::move(item));
  return number;
}

Status DeviceRing::start(uint64_t ring_bytes, DiskRing* disk) {
  if (items_.empty()) return {};
  if (ring_bytes < largest_)
    return fail(ErrorCode::kOutOfMemory,
                "a ring of {} bytes in the memory of the GPU cannot hold the largest matrix, of {}", ring_bytes,
                largest_);
  METALLIC_ASSIGN(memory_, backend_.allocate(ring_bytes));
  METALLIC_TRY(backend_.synchronize());
  places_ = RingAllocator(ring_bytes);
  disk_ = disk;
  return copy_ahead(false);
}

// Starts copies as far as there is room and, of what comes from disk, as it is there; with `wait`, the next one to be
// used is waited for.
Status DeviceRing::copy_ahead(bool wait) {
  const std::vector<int>& order = orders_[int(order_)];
  release_reads(false);
  while (!order.empty() && next_copy_ - (next_use_ - held_) <= order.size()) {
    const Item& item = items_[size_t(order[next_copy_ % order.size()])];
    const bool waits = wait && next_copy_ == next_use_;
    if (item.piece >= 0 && !waits && !(disk_->is_next(item.piece) && disk_->is_there())) return {};
    const std::optional<uint64_t> offset = places_.allocate(item.bytes);
    if (!offset) return {};
    char* const to = static_cast<char*>(memory_.get()) + *offset;
    uint64_t copy = 0;
    if (item.piece >= 0) {
      METALLIC_ASSIGN(copy, copy_from_disk(item, to));
    } else {
      copy = transfers_.copy_ahead(to, item.pinned.get(), item.bytes, mark_);
    }
    statistics_.bytes_copied +=
        item.piece < 0 ? item.bytes : uint64_t(item.file_view.shape[0] * item.file_view.stride[0]);
    entries_.push_back({next_copy_++, *offset, copy});
    last_copy_ = copy;
  }
  return {};
}

// Its number. The piece is held until the copy is done.
Result<uint64_t> DeviceRing::copy_from_disk(const Item& item, char* to) {
  if (!disk_->is_next(item.piece))  // the order was left
    while (!reads_.empty()) release_reads(true);
  while (!disk_->has_room()) {
    METALLIC_CHECK(!reads_.empty());  // an empty ring holds any piece
    release_reads(true);
  }
  METALLIC_ASSIGN(const std::byte* from, disk_->acquire(item.piece));
  TensorView host = item.file_view;
  host.data = const_cast<std::byte*>(from);  // only read
  const uint64_t copy = transfers_.copy_and_pack(host, to, to + transfers_.packed_bytes(host), mark_);
  reads_.push_back({item.piece, copy});
  return copy;
}

// Pieces whose copies are done; with `wait`, at least one if any is held.
void DeviceRing::release_reads(bool wait) {
  if (wait && !reads_.empty()) transfers_.finish_copy(reads_.front().copy);
  for (; !reads_.empty() && transfers_.is_done(reads_.front().copy); reads_.pop_front())
    disk_->release(reads_.front().piece);
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

void DeviceRing::choose_order(RingOrder order, int next) {
  if (order_ == order) return;
  release_all();
  entries_.clear();
  places_.clear();
  order_ = order;
  METALLIC_CHECK(next < 0 || comes(next));
  next_copy_ = next_use_ = next < 0 ? 0 : uint64_t(items_[size_t(next)].at[int(order)]);
  if (!copy_ahead(false)) drop_all();
}

Result<const Weight*> DeviceRing::acquire(int number) {
  METALLIC_CHECK(comes(number));
  const uint64_t count = orders_[int(order_)].size();
  const uint64_t ahead = (uint64_t(items_[size_t(number)].at[int(order_)]) + count - next_use_ % count) % count;
  if (ahead > 0) {
    if (held_ > 0) return nullptr;
    skip_to(next_use_ + ahead);
  }
  if (held_ > 0 && held_bytes_ + items_[size_t(number)].bytes > places_.bytes() / 2) return nullptr;
  if (const Status copied = copy_ahead(true); !copied) {
    drop_all();
    return tl::unexpected<Error>(copied.error());
  }
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
  held_bytes_ += item.bytes;
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
  held_bytes_ = 0;
  if (!copy_ahead(false)) drop_all();  // what failed is asked for again when it is wanted
}

// After a failure of the disk, whose ring holds nothing any more.
void DeviceRing::drop_all() {
  for (const Read& read : reads_) transfers_.finish_copy(read.copy);
  reads_.clear();
  mark_ = transfers_.mark();
  entries_.clear();
  places_.clear();
  held_ = 0;
  held_bytes_ = 0;
  next_copy_ = next_use_;
}

}  // namespace metallic
