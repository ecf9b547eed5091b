// Finding GPUs, and the sentences for what stands in the way.
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <cerrno>

#include "backend/cuda/cuda.h"
#include "backend/cuda/driver_facts.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/status.h"

namespace metallic {
namespace cuda {
namespace {

std::string version_text(int version) {  // 12080 is 12.8
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

DriverFacts look_at_driver(cudaError_t error) {
  DriverFacts facts;
  if (error == cudaErrorInsufficientDriver)
    facts.problem = DriverProblem::kTooOld;
  else if (error == cudaErrorDevicesUnavailable)
    facts.problem = DriverProblem::kBusy;
  else if (error != cudaErrorNoDevice && error != cudaSuccess)
    facts.problem = DriverProblem::kOther;
  facts.other = cudaGetErrorString(error);
  facts.has_gpu_file = ::access("/dev/nvidiactl", F_OK) == 0;
  for (const char* file : {"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"})
    if (facts.forbidden_file.empty() && ::access(file, R_OK | W_OK) != 0 && errno == EACCES)
      facts.forbidden_file = file;
  (void)cudaDriverGetVersion(&facts.driver);
  (void)cudaRuntimeGetVersion(&facts.runtime);
  return facts;
}

}  // namespace

std::string why_no_gpu(const DriverFacts& facts) {
  if (!facts.forbidden_file.empty())
    return fmt::format("no permission to use the NVIDIA GPU: {} cannot be opened; join the group that owns it",
                       facts.forbidden_file);
  if (facts.driver == 0)
    return fmt::format("no NVIDIA driver was found{}",
                       facts.has_gpu_file ? ", though there is a GPU: libcuda.so.1 is missing" : "");
  if (facts.problem == DriverProblem::kTooOld || facts.driver / 1000 < facts.runtime / 1000)
    return fmt::format(
        "the NVIDIA driver is too old: it knows CUDA {}, this program was built with CUDA {}; update the driver",
        version_text(facts.driver), version_text(facts.runtime));
  if (facts.problem == DriverProblem::kNoDevice)
    return "no NVIDIA GPU was found (the driver is there; CUDA_VISIBLE_DEVICES may hide it)";
  if (facts.problem == DriverProblem::kBusy)
    return "another process holds the NVIDIA GPU for itself (nvidia-smi shows which); wait for it, or end it";
  return fmt::format("the NVIDIA GPU cannot be used: {}", facts.other);
}

tl::unexpected<Error> no_device(cudaError_t error) {
  return tl::unexpected<Error>(Error{ErrorCode::kUnsupported, why_no_gpu(look_at_driver(error))});
}

tl::unexpected<Error> device_error(cudaError_t error, const std::string& doing) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return fail(ErrorCode::kOutOfMemory, "out of GPU memory while {}", doing);
    case cudaErrorDevicesUnavailable:
      return fail(ErrorCode::kDevice, "another process holds the GPU for itself (while {}); nvidia-smi shows which",
                  doing);
    case cudaErrorNoKernelImageForDevice:
      return fail(ErrorCode::kUnsupported,
                  "this program holds no code for this GPU (while {}); build it on this machine", doing);
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalAddress:
      return fail(ErrorCode::kDevice, "a kernel failed while {}: {} (a defect in metallic; the GPU has to be reopened)",
                  doing, cudaGetErrorString(error));
    default:
      return fail(ErrorCode::kDevice, "the GPU failed while {}: {}", doing, cudaGetErrorString(error));
  }
}

}  // namespace cuda

Result<std::vector<CudaDevice>> cuda_devices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    return cuda::no_device(error);
  }
  std::vector<CudaDevice> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (const cudaError_t failed = cudaGetDeviceProperties(&properties, i); failed != cudaSuccess)
      return cuda::device_error(failed, fmt::format("asking cuda:{} for its properties", i));
    CudaDevice device;
    device.index = i;
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.multiprocessors = properties.multiProcessorCount;
    device.memory_bytes = properties.totalGlobalMem;
    int clock_khz = 0, width_bits = 0;
    (void)cudaDeviceGetAttribute(&clock_khz, cudaDevAttrMemoryClockRate, i);
    (void)cudaDeviceGetAttribute(&width_bits, cudaDevAttrGlobalMemoryBusWidth, i);
    device.bandwidth = 2.0 * clock_khz * 1e3 * width_bits / 8;  // two transfers a clock
    size_t free = 0, total = 0;
    if (cudaSetDevice(i) == cudaSuccess && cudaMemGetInfo(&free, &total) == cudaSuccess) device.free_bytes = free;
    (void)cudaGetLastError();
    devices.push_back(std::move(device));
  }
  (void)cudaSetDevice(0);
  return devices;
}

namespace {

constexpr uint64_t kMeasuredBytes = uint64_t(4) << 30;

Result<double> measure(int device, const char* what, cudaError_t (*time)(uint64_t bytes, double& bytes_per_second)) {
  double rate = 0;
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = time(kMeasuredBytes, rate);
  if (error == cudaSuccess) return rate;
  (void)cudaGetLastError();
  return cuda::device_error(error, fmt::format("measuring how fast cuda:{} {} its memory", device, what));
}

}  // namespace

Result<double> measure_cuda_read_rate(int device) { return measure(device, "reads", cuda::time_reading); }
Result<double> measure_cuda_write_rate(int device) { return measure(device, "writes", cuda::time_writing); }

}  // namespace metallic
