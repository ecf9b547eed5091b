// Rates and delays between host and device.
#pragma once

#include <atomic>
#include <latch>
#include <memory>
#include <thread>

#include "backend/backend.h"

namespace metallic {

// Bytes a second of large copies from pinned memory to the device, the best of a few tries with nothing else under way.
// 0 if the backend has no memory of its own, or none to spare.
double measure_link(Backend& backend);

// Seconds from a result on the device to the host, through a small product there, and back to where the device goes on:
// what every product that host and device share costs beside its arithmetic. 0 if it cannot be measured.
double measure_handover(Backend& device, Backend& host);

// Copies to the device in a thread of its own until stop(), as a step with weights in RAM does all the time. The device
// belongs to that thread meanwhile.
class BackgroundCopies {
 public:
  // Returns when copies are under way, or cannot be.
  explicit BackgroundCopies(std::shared_ptr<Backend> device);
  ~BackgroundCopies() { (void)stop(); }
  BackgroundCopies(const BackgroundCopies&) = delete;
  BackgroundCopies& operator=(const BackgroundCopies&) = delete;

  // Bytes a second; 0 if nothing could be copied.
  double stop();

 private:
  void run();
  std::shared_ptr<Backend> device_;
  std::atomic<bool> stop_{false};
  std::latch begun_{1};
  double rate_ = 0;
  std::thread thread_;
};

}  // namespace metallic
