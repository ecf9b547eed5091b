// Reads by io_uring (Linux): the kernel works on many requests at once, and this process only hands them over and
// collects them.
#include "memory/file_reader.h"

#ifdef METALLIC_HAS_URING
#include <liburing.h>

#include <cerrno>
#include <deque>

#include "base/check.h"

namespace metallic {
namespace {

constexpr unsigned kInFlight = 128;

class UringReader final : public FileReader {
 public:
  ~UringReader() override {
    if (!open_) return;
    waiting_.clear();
    while (in_flight_ > 0) (void)reap();
    ::io_uring_queue_exit(&ring_);
  }
  bool open() { return open_ = ::io_uring_queue_init(kInFlight, &ring_, 0) == 0; }

  void submit(const ReadRequest& request) override { waiting_.push_back(request); }

  void start() override {
    for (; !waiting_.empty() && in_flight_ < kInFlight; waiting_.pop_front(), ++in_flight_) {
      io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
      if (entry == nullptr) break;
      const ReadRequest& request = waiting_.front();
      ::io_uring_prep_read(entry, request.descriptor, request.to, unsigned(request.bytes), request.offset);
      ::io_uring_sqe_set_data64(entry, request.tag);
      ++unsubmitted_;
    }
    if (unsubmitted_ == 0) return;
    const int taken = ::io_uring_submit(&ring_);  // what it cannot take now, it takes with the next
    if (taken > 0) unsubmitted_ -= unsigned(taken);
  }

  bool has_result() override {
    io_uring_cqe* entry = nullptr;
    return ::io_uring_peek_cqe(&ring_, &entry) == 0;
  }
  ReadResult wait() override {
    METALLIC_CHECK(outstanding() > 0);
    start();
    const ReadResult result = reap();
    start();
    return result;
  }
  int outstanding() const override { return int(in_flight_) + int(waiting_.size()); }
  const char* name() const override { return "io_uring"; }

 private:
  ReadResult reap() {
    io_uring_cqe* entry = nullptr;
    while (::io_uring_peek_cqe(&ring_, &entry) != 0) {
      const int status = ::io_uring_submit_and_wait(&ring_, 1);
      if (status > 0) unsubmitted_ -= std::min(unsubmitted_, unsigned(status));
    }
    const ReadResult result{::io_uring_cqe_get_data64(entry), entry->res};
    ::io_uring_cqe_seen(&ring_, entry);
    --in_flight_;
    return result;
  }

  io_uring ring_ = {};
  bool open_ = false;
  std::deque<ReadRequest> waiting_;
  unsigned in_flight_ = 0, unsubmitted_ = 0;
};

}  // namespace

std::unique_ptr<FileReader> make_uring_reader() {
  auto reader = std::make_unique<UringReader>();
  if (!reader->open()) return nullptr;
  return reader;
}

}  // namespace metallic

#else

namespace metallic {
std::unique_ptr<FileReader> make_uring_reader() { return nullptr; }
}  // namespace metallic

#endif
