#include "memory/file_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

// pread() on a few threads.
class ThreadReader final : public FileReader {
 public:
  explicit ThreadReader(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      requests_.clear();
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void submit(const ReadRequest& request) override {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    ++outstanding_;
  }
  void start() override { wake_.notify_all(); }
  bool has_result() override {
    const std::lock_guard lock(mutex_);
    return !results_.empty();
  }
  ReadResult wait() override {
    METALLIC_CHECK(outstanding_ > 0);
    wake_.notify_all();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return !results_.empty(); });
    const ReadResult result = results_.front();
    results_.pop_front();
    --outstanding_;
    return result;
  }
  int outstanding() const override { return outstanding_; }
  const char* name() const override { return "threads"; }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
      if (stopping_) return;
      const ReadRequest request = requests_.front();
      requests_.pop_front();
      lock.unlock();
      const ssize_t bytes = ::pread(request.descriptor, request.to, request.bytes, off_t(request.offset));
      const ReadResult result{request.tag, bytes < 0 ? -int64_t(errno) : int64_t(bytes)};
      lock.lock();
      results_.push_back(result);
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::deque<ReadRequest> requests_;
  std::deque<ReadResult> results_;
  bool stopping_ = false;
  int outstanding_ = 0;  // of the caller's thread only
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<FileReader> make_thread_reader(int threads) { return std::make_unique<ThreadReader>(threads); }

std::unique_ptr<FileReader> make_file_reader() {
  constexpr int kThreads = 8;  // as many requests in flight as a disk wants
  if (auto uring = make_uring_reader()) return uring;
  return make_thread_reader(kThreads);
}

Result<DirectDescriptor> open_direct(int descriptor, const std::string& path) {
  const std::string self = fmt::format("/proc/self/fd/{}", descriptor);
  if (const int fd = ::open(self.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT); fd >= 0) {
    // Some file systems take the flag and refuse the reads.
    void* memory = nullptr;
    const bool works = ::posix_memalign(&memory, kDirectAlignment, kDirectAlignment) == 0 &&
                       ::pread(fd, memory, kDirectAlignment, 0) >= 0;
    std::free(memory);
    if (works) return DirectDescriptor{fd, true};
    ::close(fd);
  }
  const int fd = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return fail(ErrorCode::kIo, "{}: cannot open it a second time: {}", path, std::strerror(errno));
  return DirectDescriptor{fd, false};
}

}  // namespace metallic
