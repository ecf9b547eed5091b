// Measures what bounds the backend on this machine: how fast its threads read memory together, and how fast they
// multiply codes. The best of a few short tries, since other processes only ever take away.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "backend/cpu/cpu.h"
#include "base/available_memory.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kBytes = int64_t{1} << 30;  // far beyond any cache
constexpr int64_t kLeastBytes = int64_t{1} << 26;
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int kTries = 4, kMostReadTries = 12;
constexpr double kReadSeconds = 0.2;   // after which there are no more tries than usual
constexpr double kPeakSeconds = 0.05;  // of one try

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Memory in huge pages, as weights are in; less of it where there is little.
struct ReadBuffer {
  uint8_t* data = nullptr;
  int64_t bytes = kBytes;

  ReadBuffer() {
    while (bytes > int64_t(available_memory() / 4) && bytes > kLeastBytes) bytes /= 2;
    for (; bytes >= kLeastBytes; bytes /= 2) {
      void* memory = ::mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) continue;
      ::madvise(memory, size_t(bytes), MADV_HUGEPAGE);  // a wish
      data = static_cast<uint8_t*>(memory);
      return;
    }
  }
  ~ReadBuffer() {
    if (data != nullptr) ::munmap(data, size_t(bytes));
  }
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;
};

}  // namespace

DeviceLimits CpuBackend::measure_limits() {
  return {.read_bytes_per_second = measure_read(), .dot_operations_per_second = measure_dot()};
}

double CpuBackend::measure_read() {
  const ReadBuffer buffer;
  if (buffer.data == nullptr) return 0;
  std::atomic<uint8_t> sink{0};
  double best = 0;
  const auto first = std::chrono::steady_clock::now();
  for (int i = 0; i <= kTries || (i <= kMostReadTries && seconds_since(first) < kReadSeconds); ++i) {
    const auto start = std::chrono::steady_clock::now();
    pool_.parallel_for(buffer.bytes, kHugePage, [&](int64_t begin, int64_t end) {
      if (i == 0)
        std::memset(buffer.data + begin, 1, size_t(end - begin));  // real pages, near the thread that reads them
      else
        sink.fetch_or(panel_kernels_.read(buffer.data + begin, end - begin), std::memory_order_relaxed);
    });
    if (i > 0) best = std::max(best, double(buffer.bytes) / seconds_since(start));
  }
  return best;
}

double CpuBackend::measure_dot() {
  int64_t rounds = 1024;
  double best = 0;
  for (int tries = 0; tries < kTries;) {
    std::atomic<int64_t> operations{0};
    const auto start = std::chrono::steady_clock::now();
    on_threads([&](int) { operations.fetch_add(many_kernels_.peak(rounds), std::memory_order_relaxed); });
    const double seconds = seconds_since(start);
    if (seconds < kPeakSeconds) {
      rounds *= 2;
      continue;
    }
    best = std::max(best, double(operations.load()) / seconds);
    ++tries;
  }
  return best;
}

}  // namespace metallic::cpu
