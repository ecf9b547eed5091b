// A file that appears under its name whole, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "metallic/result.h"

namespace metallic {

// Writes to a temporary file in the same folder; commit() makes it durable and renames it. Without a commit the
// temporary file is removed and whatever had the name before is untouched. Movable; for one thread.
class AtomicFile {
 public:
  // `path` may name a regular file, which commit() replaces (a link: what it points to), or nothing yet. With
  // `expected_bytes` given, a disk that is too small is noticed here and not after hours of work.
  // Errors: kNotFound (no such folder), kInvalidArgument (a directory, a device), kIo.
  static Result<AtomicFile> create(const std::string& path, uint64_t expected_bytes = 0);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Status write(std::span<const std::byte> bytes);
  Status commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

  std::string path_;
  std::string temporary_;
  int fd_ = -1;  // -1 once committed or moved from
};

}  // namespace metallic
