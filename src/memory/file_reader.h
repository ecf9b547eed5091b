// Asynchronous reads of files into memory of the caller: by io_uring where the system has it and permits it, else by
// threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "metallic/result.h"

namespace metallic {

struct ReadRequest {
  int descriptor = -1;
  uint64_t offset = 0, bytes = 0;  // multiples of kDirectAlignment for a descriptor that reads directly, as is `to`
  std::byte* to = nullptr;
  uint64_t tag = 0;  // comes back with the result
};
struct ReadResult {
  uint64_t tag = 0;
  int64_t bytes = 0;  // that were read, perhaps fewer than asked for; negative: an errno
};

inline constexpr uint64_t kDirectAlignment = 4096;

// One thread at a time. The memory that requests read into must outlive the reader: destroying it waits for them.
class FileReader {
 public:
  virtual ~FileReader() = default;
  // Any number of requests; those that the system does not take at once wait here.
  virtual void submit(const ReadRequest& request) = 0;
  // Hands everything submitted to the system. wait() does so, too.
  virtual void start() = 0;
  // Whether wait() would return at once.
  virtual bool has_result() = 0;
  // The next result, in any order. At least one request must be outstanding.
  virtual ReadResult wait() = 0;
  virtual int outstanding() const = 0;
  virtual const char* name() const = 0;  // "io_uring", "threads"
};

using ReaderFactory = std::function<std::unique_ptr<FileReader>()>;

// The best that works here.
std::unique_ptr<FileReader> make_file_reader();
std::unique_ptr<FileReader> make_thread_reader(int threads);
// Null where there is no io_uring, or where it is not permitted.
std::unique_ptr<FileReader> make_uring_reader();

// A second descriptor of an open file that reads past the page cache where the file system can; the file may have lost
// its name meanwhile. The caller closes it.
struct DirectDescriptor {
  int fd = -1;
  bool direct = false;
};
Result<DirectDescriptor> open_direct(int descriptor, const std::string& path);

}  // namespace metallic
