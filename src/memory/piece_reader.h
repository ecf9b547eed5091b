// Ranges of a model's files read into memory of the caller, many at a time: cut into requests, gone on with after short
// reads, and every failure a sentence. The base of what brings weights from disk.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "memory/file_reader.h"
#include "metallic/gguf.h"

namespace metallic {

// A range of bytes of one of the files of a model.
struct FilePiece {
  int file = 0;
  uint64_t offset = 0, bytes = 0;
};

// Shares the file and owns its own descriptors of it. One thread at a time. Memory that is read into must outlive it.
class PieceReader {
 public:
  // For pieces of the files that `pieces` name.
  static Result<std::unique_ptr<PieceReader>> open(std::shared_ptr<const GgufFile> file,
                                                   const std::vector<FilePiece>& pieces,
                                                   std::unique_ptr<FileReader> reader);
  ~PieceReader();
  PieceReader(const PieceReader&) = delete;
  PieceReader& operator=(const PieceReader&) = delete;

  // The bytes of memory that a piece needs, aligned to kDirectAlignment, and where in them it begins.
  static uint64_t room_for(const FilePiece& piece);
  static uint64_t begin_in(const FilePiece& piece);

  // Requests a piece; `tag` comes back once for each of its requests, of which there are so many.
  int read(const FilePiece& piece, std::byte* to, uint64_t tag);
  void start() { reader_->start(); }
  // Waits for a request; its tag, or none where it has to go on. At least one must be outstanding.
  std::optional<uint64_t> wait();
  bool has_result() { return outstanding() && reader_->has_result(); }  // wait() would return at once
  bool outstanding() const { return reader_->outstanding() > 0; }

  // kIo if a file has another length or another time of change than when this was opened.
  Status check_unchanged() const;
  // The first failure since the last call: a read failed, or the file was cut short.
  std::optional<Error> take_failure() { return std::exchange(failure_, std::nullopt); }
  bool failed() const { return failure_.has_value(); }

  uint64_t bytes_read() const { return bytes_read_; }
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
  struct Request {
    ReadRequest read;
    uint64_t needed = 0;  // bytes; the rest is there for alignment
    uint64_t tag = 0;
    int file = 0;
  };

  PieceReader(std::shared_ptr<const GgufFile> file, std::unique_ptr<FileReader> reader)
      : file_(std::move(file)), reader_(std::move(reader)) {}
  void submit(const Request& request);
  void keep(Status failure);

  std::shared_ptr<const GgufFile> file_;
  std::vector<Source> sources_;
  std::vector<Request> requests_;
  std::vector<size_t> free_requests_;
  std::optional<Error> failure_;
  uint64_t bytes_read_ = 0;
  std::unique_ptr<FileReader> reader_;
};

// Memory for reads, aligned to kDirectAlignment.
using ReadMemory = std::function<Result<std::shared_ptr<std::byte>>(uint64_t bytes)>;
// Pages that are really there: a budget is kept from the start, and no read has to wait for memory. kOutOfMemory.
Result<std::shared_ptr<std::byte>> allocate_for_reading(uint64_t bytes);

}  // namespace metallic
