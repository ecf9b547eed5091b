#include "backend/cuda/fake_runtime.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace metallic::testing {
namespace {

std::mutex mutex;
cudaError_t last_error = cudaSuccess;
std::map<const void*, bool> memory;  // whether it is the device's

cudaError_t error_of(FakeFailure failure) {
  switch (failure) {
    case FakeFailure::kNone:
      return cudaSuccess;
    case FakeFailure::kIllegalAddress:
      return cudaErrorIllegalAddress;
    case FakeFailure::kOldDriver:
      return cudaErrorInsufficientDriver;
    case FakeFailure::kNoDevice:
      return cudaErrorNoDevice;
    case FakeFailure::kBusy:
      return cudaErrorDevicesUnavailable;
    default:
      return cudaErrorUnknown;
  }
}

// The one kernel that does what it is there for, as somebody waits for it (handovers.h).
cudaKernel_t& asking_kernel() {
  static cudaKernel_t kernel = nullptr;
  return kernel;
}

// Counts a call; its result. Threads of an upload call, too.
cudaError_t call(const char* name) {
  const std::scoped_lock lock(mutex);
  FakeRuntime& runtime = fake_runtime();
  const int number = runtime.calls++;
  if (number != runtime.fail_at && !(runtime.lost && runtime.fail_at >= 0 && number > runtime.fail_at))
    return cudaSuccess;
  if (runtime.failed.empty()) runtime.failed = name;
  const bool allocates = std::string(name).starts_with("cudaMalloc");
  return last_error = allocates && !runtime.lost ? cudaErrorMemoryAllocation : error_of(runtime.failure);
}

cudaError_t allocate(const char* name, void** to, size_t bytes, bool device) {
  if (const cudaError_t error = call(name); error != cudaSuccess) return error;
  *to = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*to, 0, bytes);
  const std::scoped_lock lock(mutex);
  memory[*to] = device;
  ++fake_runtime().live_allocations;
  return cudaSuccess;
}

cudaError_t release(void* from) {
  if (from == nullptr) return cudaSuccess;
  const std::scoped_lock lock(mutex);
  if (memory.erase(from) == 0) return last_error = cudaErrorInvalidValue;
  --fake_runtime().live_allocations;
  std::free(from);
  return cudaSuccess;
}

// Handles are never looked into.
template <class Handle>
cudaError_t make(const char* name, Handle* handle) {
  const cudaError_t error = call(name);
  *handle = error == cudaSuccess ? reinterpret_cast<Handle>(uintptr_t(1)) : nullptr;
  return error;
}

}  // namespace

FakeRuntime& fake_runtime() {
  static FakeRuntime runtime;
  return runtime;
}

void FakeRuntime::restart() {
  const int live = live_allocations;
  *this = FakeRuntime();
  live_allocations = live;
  last_error = cudaSuccess;
}

}  // namespace metallic::testing

using metallic::testing::allocate;
using metallic::testing::asking_kernel;
using metallic::testing::call;
using metallic::testing::error_of;
using metallic::testing::fake_runtime;
using metallic::testing::make;
using metallic::testing::release;

extern "C" {

cudaError_t cudaGetLastError() { return std::exchange(metallic::testing::last_error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t) { return "an injected failure"; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = fake_runtime().driver_version, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, error_of(fake_runtime().no_devices); }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof(*properties));
  std::strcpy(properties->name, "Fake");
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = size_t(1) << 32;
  return call("cudaGetDeviceProperties");
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  return *blocks = 1, cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) { return *attributes = {}, cudaSuccess; }
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  return *function = nullptr, *found = cudaDriverEntryPointSymbolNotFound, cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  *attributes = {};
  const auto after = metallic::testing::memory.upper_bound(pointer);
  if (after != metallic::testing::memory.begin() && std::prev(after)->first == pointer && std::prev(after)->second)
    attributes->type = cudaMemoryTypeDevice;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** to, size_t bytes) { return allocate("cudaMalloc", to, bytes, true); }
cudaError_t cudaMallocHost(void** to, size_t bytes) { return allocate("cudaMallocHost", to, bytes, false); }
cudaError_t cudaFree(void* from) { return release(from); }
cudaError_t cudaFreeHost(void* from) { return release(from); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return *free = size_t(1) << 31, *total = size_t(1) << 32, cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  const cudaError_t error = call("cudaMemcpyAsync");
  if (error == cudaSuccess) std::memcpy(to, from, bytes);
  return error;
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  const cudaError_t error = call("cudaMemset");
  if (error == cudaSuccess) std::memset(to, value, bytes);
  return error;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) { return cudaMemset(to, value, bytes); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return make("cudaStreamCreateWithFlags", stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return call("cudaStreamSynchronize"); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return call("cudaStreamWaitEvent"); }
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return call("cudaStreamBeginCapture"); }
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) { return make("cudaStreamEndCapture", graph); }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* graph, cudaGraph_t, unsigned long long) {
  return make("cudaGraphInstantiate", graph);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return call("cudaGraphLaunch"); }
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t* event) { return make("cudaEventCreate", event); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return make("cudaEventCreateWithFlags", event); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return call("cudaEventRecord"); }
cudaError_t cudaEventQuery(cudaEvent_t) { return call("cudaEventQuery"); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return call("cudaEventSynchronize"); }
cudaError_t cudaDeviceSynchronize() { return call("cudaDeviceSynchronize"); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  return *milliseconds = 1, cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t*, const void*, void**) { return call("cudaLaunchKernelExC"); }

// What the compiler calls for <<< >>> and for the code it embeds.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void** arguments, size_t, cudaStream_t) {
  const cudaError_t error = call("a kernel");
  if (error == cudaSuccess && kernel == asking_kernel()) {
    uint64_t* const asked = *static_cast<uint64_t**>(arguments[0]);
    std::atomic_ref<uint64_t>(*asked).store(*static_cast<uint64_t*>(arguments[1]));
  }
  return error;
}
unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, void*) { return 0; }
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = dim3(1), *block = dim3(1), *shared = 0;
  std::memset(stream, 0, sizeof(cudaStream_t));
  return cudaSuccess;
}
void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  if (std::strstr(name, "ask_kernel") != nullptr)
    asking_kernel() = reinterpret_cast<cudaKernel_t>(const_cast<char*>(function));
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
}
