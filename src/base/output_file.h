// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "metallic/result.h"

namespace metallic {

// Writes to a temporary file beside `path`, which has no name where the file system can have such (a process that is
// killed leaves nothing behind); commit() puts it at `path`, over what was there. Destroyed without commit() it removes
// the temporary file and leaves `path` as it was. A `path` that is a pipe or a device (/dev/stdout)
// is written directly; a symbolic link stays and what it names is replaced. Movable; one thread at a time.
class OutputFile {
 public:
  // With `expected_bytes` given, a disk that is too small is noticed here and not after hours of work. Errors:
  // kNotFound (no such folder), kInvalidArgument (a directory; a file that is kept, read_files.h), kIo.
  static Result<OutputFile> create(const std::string& path, uint64_t expected_bytes = 0);

  // An open descriptor, written from where it stands; it stays open. `name` is for error messages.
  static Result<OutputFile> over(int descriptor, const std::string& name);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  Status write(std::span<const std::byte> bytes);
  Status commit();  // at most once; nothing may be written after it

  const std::string& path() const { return path_; }
  uint64_t bytes_written() const { return written_; }

 private:
  OutputFile(std::string path, std::string temporary, int descriptor);

  std::string path_;
  std::string temporary_;  // empty: `path` itself is open
  bool named_ = true;      // the temporary file has that name already; else it has none
  int descriptor_ = -1;    // -1 once committed or moved from
  uint64_t written_ = 0;
};

}  // namespace metallic
