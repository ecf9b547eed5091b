// Pieces of files that are used in one fixed order, again and again, brought to memory before they are wanted.
//
// Ownership: the ring owns its memory, its reader and its descriptors; the GgufFile outlives it by shared ownership.
// Threads: all calls come from one thread; the kernel (or the reader's threads) fill the memory meanwhile.
// Promise: from acquire(i) to release(i) the bytes of piece i stand at the address given, whole and as in the file, and
// nothing else is written there. Whatever release() makes room for is asked for at once, so that reads never wait for
// computing except for want of room. The order may be left at any time: what was skipped is let go.
#pragma once

#include <sys/types.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "memory/file_reader.h"
#include "memory/ring_allocator.h"
#include "metallic/gguf.h"

namespace metallic {

// A range of bytes of one of the files of a model.
struct FilePiece {
  int file = 0;
  uint64_t offset = 0, bytes = 0;
};

struct DiskRingStatistics {
  uint64_t bytes_read = 0;
  uint64_t pieces_used = 0;
  double seconds_waited = 0;  // in acquire()
};

class DiskRing {
 public:
  // `pieces` in their order of use. kOutOfMemory if the ring is smaller than the largest piece.
  static Result<std::unique_ptr<DiskRing>> create(std::shared_ptr<const GgufFile> file, std::vector<FilePiece> pieces,
                                                  uint64_t ring_bytes, std::unique_ptr<FileReader> reader);
  ~DiskRing();
  DiskRing(const DiskRing&) = delete;
  DiskRing& operator=(const DiskRing&) = delete;

  // What a piece needs of the ring.
  static uint64_t room_for(const FilePiece& piece);

  // kIo says which file, where, and what happened: a read failed, the file was cut short or changed. The ring can be
  // used again afterwards. One piece is held at a time.
  Result<const std::byte*> acquire(int piece);
  void release(int piece);

  const DiskRingStatistics& statistics() const { return statistics_; }
  const char* reader_name() const { return reader_->name(); }
  bool direct() const;  // all files are read past the page cache

 private:
  // One of the files as it was when the model was opened.
  struct Source {
    std::string path;
    DirectDescriptor descriptor;
    int64_t size = 0;
    timespec changed = {};
  };
  // A use of a piece, by its number since the beginning: piece number use % pieces. From the first read to its release.
  struct Entry {
    uint64_t use = 0, offset = 0;
    int pending = 0;  // requests
  };
  struct Request {
    ReadRequest read;
    uint64_t needed = 0;  // bytes; the rest is there for alignment
    uint64_t use = 0;
  };

  DiskRing(std::shared_ptr<const GgufFile> file, std::vector<FilePiece> pieces, uint64_t ring_bytes,
           std::unique_ptr<FileReader> reader);
  Status open_sources();
  Status check_unchanged() const;
  void read_ahead();
  void request_piece(Entry& entry);
  void submit(const Request& request);
  void complete_one();
  void keep(Status failure);
  void skip_to(uint64_t use);
  void drop_all();

  std::shared_ptr<const GgufFile> file_;
  std::vector<FilePiece> pieces_;
  std::vector<Source> sources_;
  std::shared_ptr<std::byte> memory_;
  RingAllocator places_;
  std::deque<Entry> entries_;  // requested and not released, in order
  std::vector<Request> requests_;
  std::vector<size_t> free_requests_;
  uint64_t next_read_ = 0;        // the first use that is not requested
  uint64_t released_ = 0;         // all uses before are done with
  std::optional<Error> failure_;  // the first since the last acquire()
  DiskRingStatistics statistics_;
  std::unique_ptr<FileReader> reader_;  // last: its requests end before the memory goes
};

}  // namespace metallic
