// A fixed team of threads that run one job together.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "base/check.h"

namespace metallic {

// The caller is thread 0; size() - 1 workers wait, spinning briefly and then asleep. One job at a time: run() must not
// be called from two threads at once, nor from inside a job. Workers that with the caller take all cores stay on one
// each.
class ThreadPool {
 public:
  // `threads` is at least 1; 0 means available_cores().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return int(workers_.size()) + 1; }

  // Calls job(thread, threads) once on every thread and returns when all are done. The job must not throw.
  void run(const std::function<void(int thread, int threads)>& job);

  // Cuts [0, count) into one contiguous range per thread, each but the last a multiple of `grain`, and calls
  // job(begin, end) for the ranges that are not empty.
  template <class Job>
  void parallel_for(int64_t count, int64_t grain, const Job& job) {
    METALLIC_CHECK(count >= 0 && grain > 0);
    const int64_t grains = (count + grain - 1) / grain;
    if (grains <= 1 || workers_.empty()) {
      if (count > 0) job(int64_t{0}, count);
      return;
    }
    const auto ranges = [&](int thread, int threads) {
      const int64_t begin = std::min(count, grains * thread / threads * grain);
      const int64_t end = std::min(count, grains * (thread + 1) / threads * grain);
      if (begin < end) job(begin, end);
    };
    run(std::ref(ranges));  // a reference fits into a std::function without an allocation
  }

 private:
  void work(int thread);

  int spins_;  // how long a waiting thread spins before it sleeps
  std::vector<std::thread> workers_;
  const std::function<void(int, int)>* job_ = nullptr;
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace metallic
