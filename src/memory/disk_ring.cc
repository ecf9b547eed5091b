#include "memory/disk_ring.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace metallic {

Result<std::unique_ptr<DiskRing>> DiskRing::create(std::shared_ptr<const GgufFile> file, std::vector<FilePiece> pieces,
                                                   uint64_t ring_bytes, std::unique_ptr<FileReader> reader,
                                                   const ReadMemory& allocate) {
  METALLIC_CHECK(!pieces.empty());
  ring_bytes = (ring_bytes + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
  uint64_t largest = 0;
  for (const FilePiece& piece : pieces) largest = std::max(largest, room_for(piece));
  if (ring_bytes < largest)
    return fail(ErrorCode::kOutOfMemory, "{}: a ring of {} bytes cannot hold the largest piece, of {}", file->path(),
                ring_bytes, largest);
  std::unique_ptr<DiskRing> ring(new DiskRing(std::move(pieces), ring_bytes));
  METALLIC_ASSIGN(ring->memory_, allocate(ring_bytes));
  METALLIC_ASSIGN(ring->reader_, PieceReader::open(std::move(file), ring->pieces_, std::move(reader)));
  ring->read_ahead();
  return ring;
}

DiskRingStatistics DiskRing::statistics() const { return {reader_->bytes_read(), pieces_used_, seconds_waited_}; }

// Requests pieces as far as there is room, at most once round and one more.
void DiskRing::read_ahead() {
  while (next_read_ - released_ <= pieces_.size()) {
    const FilePiece& piece = pieces_[next_read_ % pieces_.size()];
    const std::optional<uint64_t> offset = places_.allocate(room_for(piece));
    if (!offset) break;
    entries_.push_back({next_read_, *offset, reader_->read(piece, memory_.get() + *offset, next_read_)});
    ++next_read_;
  }
  reader_->start();
}

void DiskRing::complete_one() {
  const std::optional<uint64_t> use = reader_->wait();
  if (!use || entries_.empty()) return;
  --entries_[size_t(*use - entries_.front().use)].pending;
}

// Lets go of all uses before `use`.
void DiskRing::skip_to(uint64_t use) {
  METALLIC_CHECK(held_ == 0);
  while (!entries_.empty() && entries_.front().use < use) {
    while (entries_.front().pending > 0) complete_one();
    entries_.pop_front();
    places_.free_oldest();
  }
  released_ = use;
  next_read_ = std::max(next_read_, use);
}

Error DiskRing::drop_all(Error failure) {
  while (reader_->outstanding()) complete_one();
  (void)reader_->take_failure();  // of the same cause
  entries_.clear();
  places_.clear();
  next_read_ = released_;
  held_ = 0;
  return failure;
}

Result<const std::byte*> DiskRing::acquire(int piece) {
  const auto start = std::chrono::steady_clock::now();
  const uint64_t count = pieces_.size(), now = next_use() % count;
  const uint64_t ahead = (uint64_t(piece) + count - now) % count;
  if (ahead > 0) skip_to(released_ + ahead);
  if (now + ahead >= count || now + ahead == 0)  // a new round
    if (const Status unchanged = reader_->check_unchanged(); !unchanged)
      return tl::unexpected<Error>(drop_all(unchanged.error()));
  read_ahead();
  METALLIC_CHECK(entries_.size() > held_);
  const Entry& entry = entries_[held_];
  METALLIC_CHECK(entry.use == next_use());
  while (!reader_->failed() && entry.pending > 0) complete_one();
  seconds_waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (auto failure = reader_->take_failure()) return tl::unexpected<Error>(drop_all(std::move(*failure)));
  ++pieces_used_;
  ++held_;
  return memory_.get() + entry.offset + PieceReader::begin_in(pieces_[size_t(piece)]);
}

void DiskRing::release(int piece) {
  METALLIC_CHECK(held_ > 0 && entries_.front().use % pieces_.size() == uint64_t(piece));
  entries_.pop_front();
  places_.free_oldest();
  ++released_;
  --held_;
  read_ahead();
}

bool DiskRing::has_room() {
  read_ahead();
  return entries_.size() > held_;
}

bool DiskRing::is_there() {
  while (reader_->has_result()) complete_one();
  return has_room() && entries_[held_].pending == 0;
}

}  // namespace metallic
