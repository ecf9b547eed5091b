#include "base/disk_rate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kPiece = uint64_t{2} << 20;
constexpr uint64_t kLeastPieces = 8;
constexpr int kThreads = 8;  // reads under way
constexpr double kSeconds = 0.25;

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

}  // namespace

Result<double> measure_disk_rate(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT)};
  if (file.number < 0)
    return fail(errno == EINVAL ? ErrorCode::kUnsupported : ErrorCode::kIo,
                "{}: cannot be read past the page cache: {}", path, std::strerror(errno));
  struct stat status {};
  if (::fstat(file.number, &status) != 0 || uint64_t(status.st_size) < kLeastPieces * kPiece)
    return fail(ErrorCode::kUnsupported, "{}: is too small to measure its disk", path);
  const uint64_t pieces = uint64_t(status.st_size) / kPiece;
  std::atomic<uint64_t> next{0}, bytes{0};
  std::atomic<int> failure{0};
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      const std::unique_ptr<void, Free> buffer(std::aligned_alloc(4096, kPiece));
      while (buffer != nullptr && failure == 0 && elapsed() < kSeconds) {
        const uint64_t piece = next.fetch_add(1);
        if (piece >= pieces) return;  // a second reading might come from a cache of the disk
        const ssize_t got = ::pread(file.number, buffer.get(), kPiece, off_t(piece * kPiece));
        if (got < 0) failure = errno;
        if (got > 0) bytes += uint64_t(got);
      }
    });
  for (std::thread& thread : threads) thread.join();
  const double seconds = elapsed();
  if (failure != 0)
    return fail(failure == EINVAL ? ErrorCode::kUnsupported : ErrorCode::kIo, "{}: reading past the page cache: {}",
                path, std::strerror(failure));
  return double(bytes) / seconds;
}

std::string disk_name(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{}:{}", major(status.st_dev), minor(status.st_dev));
}

}  // namespace metallic
