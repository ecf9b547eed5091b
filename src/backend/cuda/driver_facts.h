// Why a GPU cannot be used, as far as the driver and its files say: facts, and the sentence for them.
#pragma once

#include <string>

namespace metallic::cuda {

enum class DriverProblem { kNoDevice, kTooOld, kBusy, kOther };

struct DriverFacts {
  bool has_gpu_file = false;   // /dev/nvidiactl is there
  std::string forbidden_file;  // of the GPU, that this user may not open
  int driver = 0;              // CUDA version that the driver knows, 12040 for 12.4; 0: there is no driver
  int runtime = 0;             // that this program was built with
  DriverProblem problem = DriverProblem::kNoDevice;
  std::string other;  // kOther: its words
};
std::string why_no_gpu(const DriverFacts& facts);

}  // namespace metallic::cuda
