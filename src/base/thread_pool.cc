#include "base/thread_pool.h"

#include "base/check.h"
#include "base/processors.h"
#include "base/relax.h"

namespace metallic {
namespace {

// Some tens of microseconds: longer than the gap between two operations of a forward pass.
constexpr int kSpins = 2000;
// Where a core is left to others: as long as a GPU takes for its part of a layer.
constexpr int kLongSpins = 20000;

// Waits until `value` is no longer `old`.
template <class T>
void wait_while(const std::atomic<T>& value, T old, int spins) {
  for (int spin = 0; spin < spins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  METALLIC_CHECK(threads >= 0);
  const int processors = available_processors(), available = available_cores();
  const int size = threads == 0 ? available : threads;
  // A spinning thread must not keep the one it waits for off its processor.
  spins_ = size < available ? kLongSpins : size <= processors ? kSpins : 0;
  const Cores cores = cores_to_bind(size);
  for (int thread = 1; thread < size; ++thread)
    workers_.emplace_back([this, thread, core = cores.empty() ? std::vector<int>{} : cores[size_t(thread)]] {
      if (!core.empty()) bind_this_thread(core);  // where the system refuses, it chooses
      work(thread);
    });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const std::function<void(int, int)>& job) {
  if (workers_.empty()) return job(0, 1);
  job_ = &job;
  running_.store(int(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  job(0, size());
  for (int left = running_.load(std::memory_order_acquire); left != 0; left = running_.load(std::memory_order_acquire))
    wait_while(running_, left, spins_);
}

void ThreadPool::work(int thread) {
  for (uint32_t seen = 0;;) {
    wait_while(generation_, seen, spins_);
    ++seen;
    if (stop_.load(std::memory_order_relaxed)) return;
    (*job_)(thread, size());
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

}  // namespace metallic
