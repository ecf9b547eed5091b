#include "memory/host_worker.h"

#include <chrono>
#include <utility>

#include "base/relax.h"

namespace metallic {

HostWorker::~HostWorker() {
  if (!thread_.joinable()) return;
  drop_ = true;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void HostWorker::add(uint64_t number, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({number, std::move(work)});
  }
  ++added_;
  changed_.notify_all();
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

bool HostWorker::is_done() {
  const std::lock_guard lock(mutex_);
  return tasks_.empty();
}

void HostWorker::rest() {
  constexpr std::chrono::seconds kWhile(1);
  if (is_done()) return;
  transfers_.submit();
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kWhile, [this] { return tasks_.empty(); });
}

void HostWorker::settle() {
  if (is_done()) return;
  rest();
  transfers_.wait();
  finish();
}

void HostWorker::finish() {
  drop_ = true;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.empty(); });
  }
  drop_ = false;
}

// The next comes soon while a step runs: it is looked for awhile before this sleeps. False at the end.
bool HostWorker::next(Task& task) {
  constexpr int kSpins = 20000;
  const uint64_t seen = added_;
  std::unique_lock lock(mutex_);
  if (tasks_.empty() && !stop_) {
    lock.unlock();
    for (int spin = 0; spin < kSpins && added_ == seen; ++spin) relax();
    lock.lock();
  }
  changed_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
  if (tasks_.empty()) return false;
  task = {tasks_.front().number, std::move(tasks_.front().work)};
  return true;
}

bool HostWorker::wait_until_asked(uint64_t number) const {
  while (!transfers_.is_asked(number)) {
    if (drop_) return transfers_.is_asked(number);  // it may have been just before
    relax();
  }
  return true;
}

void HostWorker::run() {
  for (Task task; next(task);) {
    if (wait_until_asked(task.number))
      task.work();
    else
      dropped_ = true;
    transfers_.answer(task.number);
    const std::lock_guard lock(mutex_);
    tasks_.pop_front();
    if (tasks_.empty()) changed_.notify_all();
  }
}

}  // namespace metallic
