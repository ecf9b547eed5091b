// A CUDA runtime without a GPU, for tests that link it in place of the real one: memory is the host's, kernels do
// nothing but ask the host (handovers.h), and any call can be made to fail.
#pragma once

#include <string>

namespace metallic::testing {

enum class FakeFailure { kNone, kUnknown, kIllegalAddress, kOldDriver, kNoDevice, kBusy };

struct FakeRuntime {
  int calls = 0;                                // that could have failed
  int fail_at = -1;                             // the number of the call that fails
  FakeFailure failure = FakeFailure::kUnknown;  // what it returns; where it allocates, that there is no memory
  bool lost = false;                            // every call after it fails likewise
  std::string failed;                           // its name
  int live_allocations = 0;
  int driver_version = 13000;
  FakeFailure no_devices = FakeFailure::kNone;  // why there are none

  // As at the start, but for what is allocated.
  void restart();
};
FakeRuntime& fake_runtime();

}  // namespace metallic::testing
