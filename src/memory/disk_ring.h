// Pieces of files that are used in one fixed order, again and again, brought to memory before they are wanted.
//
// Ownership: the ring owns its memory, its reader and its descriptors; the GgufFile outlives it by shared ownership.
// Threads: all calls come from one thread; the kernel (or the reader's threads) fill the memory meanwhile.
// Promise: from acquire(i) to release(i) the bytes of piece i stand at the address given, whole and as in the file, and
// nothing else is written there. Whatever release() makes room for is asked for at once, so that reads never wait for
// computing except for want of room. The order may be left at any time: what was skipped is let go.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "memory/piece_reader.h"
#include "memory/ring_allocator.h"

namespace metallic {

struct DiskRingStatistics {
  uint64_t bytes_read = 0;
  uint64_t pieces_used = 0;
  double seconds_waited = 0;  // in acquire()
};

class DiskRing {
 public:
  // `pieces` in their order of use. kOutOfMemory if the ring is smaller than the largest piece.
  static Result<std::unique_ptr<DiskRing>> create(std::shared_ptr<const GgufFile> file, std::vector<FilePiece> pieces,
                                                  uint64_t ring_bytes, std::unique_ptr<FileReader> reader,
                                                  const ReadMemory& allocate = allocate_for_reading);

  // What a piece needs of the ring.
  static uint64_t room_for(const FilePiece& piece) { return PieceReader::room_for(piece); }

  // kIo says which file, where, and what happened: a read failed, the file was cut short or changed. The ring can be
  // used again afterwards. While pieces are held, only the next in the order may be acquired, and only if has_room();
  // they are released in the same order. An error releases all.
  Result<const std::byte*> acquire(int piece);
  void release(int piece);
  // Of the piece that is next in the order: whether it is requested, and whether it is there. Neither waits.
  bool is_next(int piece) const { return uint64_t(piece) == next_use() % pieces_.size(); }
  bool has_room();
  bool is_there();

  DiskRingStatistics statistics() const;
  const char* reader_name() const { return reader_->reader_name(); }
  bool direct() const { return reader_->direct(); }

 private:
  // A use of a piece, by its number since the beginning: piece number use % pieces. From the first read to its release.
  struct Entry {
    uint64_t use = 0, offset = 0;
    int pending = 0;  // requests
  };

  DiskRing(std::vector<FilePiece> pieces, uint64_t ring_bytes) : pieces_(std::move(pieces)), places_(ring_bytes) {}
  uint64_t next_use() const { return released_ + held_; }
  void read_ahead();
  void complete_one();
  void skip_to(uint64_t use);
  Error drop_all(Error failure);

  std::vector<FilePiece> pieces_;
  std::shared_ptr<std::byte> memory_;
  RingAllocator places_;
  std::deque<Entry> entries_;  // requested and not released, in order
  uint64_t next_read_ = 0;     // the first use that is not requested
  uint64_t released_ = 0;      // all uses before are done with
  size_t held_ = 0;            // of the first entries
  uint64_t pieces_used_ = 0;
  double seconds_waited_ = 0;
  std::unique_ptr<PieceReader> reader_;  // last: its requests end before the memory goes
};

}  // namespace metallic
