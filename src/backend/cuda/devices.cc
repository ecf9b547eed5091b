// Finding GPUs, and the sentences for what stands in the way.
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <cerrno>

#include "backend/cuda/cuda.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/status.h"

namespace metallic {
namespace cuda {
namespace {

constexpr const char* kControlDevice = "/dev/nvidiactl";

std::string version_text(int version) {  // 12080 is 12.8
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

tl::unexpected<Error> no_device(cudaError_t error) {
  const bool has_control = ::access(kControlDevice, F_OK) == 0;
  if (has_control && ::access(kControlDevice, R_OK | W_OK) != 0 && errno == EACCES)
    return fail(ErrorCode::kUnsupported,
                "no permission to use the NVIDIA GPU: {} cannot be opened; join the group that owns it",
                kControlDevice);
  int driver = 0, runtime = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  if (driver == 0)
    return fail(ErrorCode::kUnsupported, "no NVIDIA driver was found{}",
                has_control ? ", though there is a GPU: libcuda.so.1 is missing" : "");
  if (error == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000)
    return fail(
        ErrorCode::kUnsupported,
        "the NVIDIA driver is too old: it knows CUDA {}, this program was built with CUDA {}; update the driver",
        version_text(driver), version_text(runtime));
  if (error == cudaErrorNoDevice || error == cudaSuccess)
    return fail(ErrorCode::kUnsupported,
                "no NVIDIA GPU was found (the driver is there; CUDA_VISIBLE_DEVICES may hide it)");
  return fail(ErrorCode::kUnsupported, "the NVIDIA GPU cannot be used: {}", cudaGetErrorString(error));
}

tl::unexpected<Error> device_error(cudaError_t error, const std::string& doing) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return fail(ErrorCode::kOutOfMemory, "out of GPU memory while {}", doing);
    case cudaErrorDevicesUnavailable:
      return fail(ErrorCode::kDevice, "another process holds the GPU for itself (while {})", doing);
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

Result<double> measure_cuda_read_rate(int device) {
  constexpr uint64_t kBytes = uint64_t(4) << 30;
  double rate = 0;
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cuda::time_reading(kBytes, rate);
  if (error == cudaSuccess) return rate;
  (void)cudaGetLastError();
  return cuda::device_error(error, fmt::format("measuring how fast cuda:{} reads its memory", device));
}

}  // namespace metallic
