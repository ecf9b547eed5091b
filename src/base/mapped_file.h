// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/mapping_guard.h"
#include "metallic/result.h"

namespace metallic {

// Owns one read-only private mapping of a whole regular file; movable, safe to read from any thread. Where someone cuts
// the file short meanwhile, what is gone reads as zero instead of ending the process; check_intact() tells.
class MappedFile {
 public:
  // Fails with kNotFound or kIo; a directory, a FIFO, a device or an empty file is refused by name.
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  int descriptor() const { return fd_; }  // open as long as this object lives

  // Says that `part` of bytes() is not needed soon: its pages no longer count as this process's memory. Reading them
  // again brings them back.
  void release(std::span<const std::byte> part) const;

  // kIo if the file has become shorter since it was opened. What was read before an intact answer was really in the
  // file.
  Status check_intact() const;

 private:
  MappedFile(std::string path, int fd, const std::byte* data, size_t size)
      : path_(std::move(path)), fd_(fd), data_(data), size_(size), guard_(data, size) {}

  std::string path_;
  int fd_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  MappingGuard guard_;
};

}  // namespace metallic
