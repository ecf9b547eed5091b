#include "backend/cuda/stream.h"

#include "backend/cuda/status.h"

namespace metallic::cuda {

Result<std::unique_ptr<Stream>> Stream::open(int device) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    return no_device(error);
  }
  if (device < 0 || device >= count)
    return fail(ErrorCode::kNotFound, "there is no cuda:{}; this machine has cuda:0 to cuda:{}", device, count - 1);
  std::unique_ptr<Stream> stream(new Stream(device));
  const std::string doing = fmt::format("opening cuda:{}", device);
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&stream->properties_, device);
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&stream->stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return device_error(error, doing);
  }
  constexpr int kOldest = 8;
  if (stream->properties_.major < kOldest)
    return fail(ErrorCode::kUnsupported, "cuda:{} ({}) has compute capability {}.{}; 8.0 or newer is needed", device,
                stream->properties_.name, stream->properties_.major, stream->properties_.minor);
  return stream;
}

Stream::~Stream() {
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
}

bool Stream::check(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return true;
  (void)cudaGetLastError();  // what is not sticky is forgotten
  if (!failure_) failure_ = device_error(error, fmt::format("{} on cuda:{}", doing, device_)).value();
  return false;
}

Status Stream::synchronize(const char* doing) {
  check(cudaStreamSynchronize(stream_), doing);
  if (!failure_) return {};
  const Error failure = std::move(*failure_);
  failure_.reset();
  return tl::unexpected<Error>(failure);
}

Result<void*> Stream::allocate(uint64_t bytes, const char* what) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes == 0 ? 1 : bytes);
  if (error == cudaSuccess) return memory;
  (void)cudaGetLastError();
  size_t free = 0, total = 0;
  (void)cudaMemGetInfo(&free, &total);
  if (error == cudaErrorMemoryAllocation || bytes > total)
    return fail(ErrorCode::kOutOfMemory, "cuda:{}: cannot allocate {} bytes for {}: {} of its {} bytes are free{}",
                device_, bytes, what, free, total,
                bytes <= total && bytes > free ? "; what other processes hold, nvidia-smi shows" : "");
  return device_error(error, fmt::format("allocating {} bytes for {} on cuda:{}", bytes, what, device_));
}

}  // namespace metallic::cuda
