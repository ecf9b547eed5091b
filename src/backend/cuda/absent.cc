// Stands in for the backend in a build without CUDA.
#include "backend/cuda/cuda.h"
#include "base/error.h"

namespace metallic {
namespace {

tl::unexpected<Error> absent() {
  return fail(ErrorCode::kUnsupported,
              "this program was built without CUDA ({}); install CUDA 12.8 or newer and build it with METALLIC_CUDA=ON",
              METALLIC_WHY_NO_CUDA);
}

}  // namespace

Result<std::vector<CudaDevice>> cuda_devices() { return absent(); }
Result<double> measure_cuda_read_rate(int) { return absent(); }
Result<double> measure_cuda_write_rate(int) { return absent(); }
Result<std::shared_ptr<Backend>> make_cuda_backend(const CudaOptions&) { return absent(); }

}  // namespace metallic
