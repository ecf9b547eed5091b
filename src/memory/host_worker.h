// The host's part of hand-overs (Transfers::ask), in a thread of its own: the thread that runs the model goes on giving
// the device work, which so never waits for a launch when the host has answered.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "backend/transfers.h"

namespace metallic {

// All calls come from the thread that runs the model.
class HostWorker {
 public:
  explicit HostWorker(Transfers& transfers) : transfers_(transfers) {}
  ~HostWorker();  // drops what is left
  HostWorker(const HostWorker&) = delete;
  HostWorker& operator=(const HostWorker&) = delete;

  // When the device has come to the hand-over, `work` is done, and the hand-over is answered. In the order of the
  // calls.
  void add(uint64_t number, std::function<void()> work);
  bool is_done();
  // Gives the device what waits to be given, and until all is done, or for a while if that does not happen, sleeps: who
  // waits takes no core from the host's threads.
  void rest();
  // Waits for the device, and until all is done: the host's threads are free then, and all that they were given.
  void settle();
  // Of a device that has nothing more to do, whatever became of it: what it has not asked for it never will, and that
  // is dropped.
  void finish();
  // Whether anything was dropped since the last call.
  bool take_dropped() { return dropped_.exchange(false); }

 private:
  struct Task {
    uint64_t number;
    std::function<void()> work;
  };
  void run();
  bool next(Task& task);
  bool wait_until_asked(uint64_t number) const;

  Transfers& transfers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  // the one under way is still the first
  bool stop_ = false;
  std::atomic<uint64_t> added_ = 0;  // so many
  std::atomic<bool> drop_ = false;   // what nobody has asked for
  std::atomic<bool> dropped_ = false;
  std::thread thread_;  // started with the first
};

}  // namespace metallic
