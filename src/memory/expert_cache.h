// Experts of mixtures that are on disk: which ones a token uses is only known when it is there, so they are read on
// demand, all that an operation uses at once, and those that are used most stay.
//
// Ownership and threads as for DiskRing. What fetch() brought stays until the next fetch().
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "memory/piece_reader.h"

namespace metallic {

struct ExpertStatistics {
  uint64_t hits = 0, misses = 0;  // of what was fetched
  uint64_t bytes_read = 0;
};

class ExpertCache {
 public:
  // Holds as many pieces as fit into `bytes`, at least one: else kOutOfMemory.
  static Result<std::unique_ptr<ExpertCache>> create(std::shared_ptr<const GgufFile> file,
                                                     std::vector<FilePiece> pieces, uint64_t bytes,
                                                     std::unique_ptr<FileReader> reader);

  size_t slots() const { return slots_.size(); }
  // Brings pieces, each named once, at most slots() of them. Errors as DiskRing::acquire(); nothing is lost by one.
  Status fetch(std::span<const int> pieces);
  // Pieces that bring() will be asked for in this order, each named once: as many as there is room for are fetched.
  Status expect(std::vector<int> pieces);
  // The bytes of a piece. One that is not there is fetched, with those that are expected behind it, in half of the
  // room: a disk is fast only if it is asked for many.
  Result<const std::byte*> bring(int piece);
  // Null if the piece is not there.
  const std::byte* find(int piece) const;

  ExpertStatistics statistics() const { return {hits_, misses_, reader_->bytes_read()}; }

 private:
  struct Slot {
    int piece = -1;
    uint64_t fetched = 0;  // by the fetch of this number, last
  };
  ExpertCache(std::vector<FilePiece> pieces, size_t slots, uint64_t slot_bytes);
  size_t slot_to_reuse() const;

  std::vector<FilePiece> pieces_;
  std::vector<Slot> slots_;
  std::vector<int> slot_of_;    // of each piece; -1: not there
  std::vector<uint32_t> uses_;  // of each piece; halved from time to time, so that old fame fades
  std::vector<int> expected_;
  uint64_t slot_bytes_;
  uint64_t fetches_ = 0, hits_ = 0, misses_ = 0;
  std::shared_ptr<std::byte> memory_;
  std::unique_ptr<PieceReader> reader_;  // last: its requests end before the memory goes
};

}  // namespace metallic
