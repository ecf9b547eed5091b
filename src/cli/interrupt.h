// Ctrl-C as a question that can be asked, instead of the end of the process.
#pragma once

namespace metallic::cli {

// While one lives, SIGINT only sets a flag (a second SIGINT before the flag was taken ends the process as usual). One
// at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool pending();  // was there a SIGINT since the last take()?
  static bool take();     // the same, and forgets it
};

}  // namespace metallic::cli
