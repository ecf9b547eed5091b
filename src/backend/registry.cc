// The backends, best first.
#include <unistd.h>

#include <algorithm>
#include <array>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/cuda/cuda.h"
#include "backend/cuda/planes.h"
#include "backend/reference/reference.h"
#include "backend/weight_bytes.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "base/log.h"
#include "base/processors.h"

namespace metallic {
namespace {

#ifdef METALLIC_HAS_CUDA
constexpr bool kCudaBuilt = true;
#else
constexpr bool kCudaBuilt = false;
#endif

struct Entry {
  const char* name;
  bool built;  // false: known, and refused with the reason
  Result<std::shared_ptr<Backend>> (*make)(int threads, bool repack);
};

constexpr std::array kBackends = {
    Entry{"cpu", true,
          [](int threads, bool repack) { return make_cpu_backend({.threads = threads, .repack = repack}); }},
    Entry{"cpu-f32", true,
          [](int threads, bool) {
            return make_cpu_backend({.name = "cpu-f32", .threads = threads, .repack = false, .integers = false});
          }},
    Entry{"reference", true,
          [](int threads, bool) { return Result<std::shared_ptr<Backend>>(make_reference_backend(threads)); }},
    Entry{"cuda", kCudaBuilt, [](int, bool) { return make_cuda_backend({}); }},
    Entry{"cuda-reproducible", kCudaBuilt, [](int, bool) { return make_cuda_backend({.reproducible = true}); }},
};

constexpr size_t kBuilt =
    size_t(std::count_if(kBackends.begin(), kBackends.end(), [](const Entry& e) { return e.built; }));

constexpr auto kNames = [] {
  std::array<const char*, kBuilt> names{};
  size_t count = 0;
  for (const Entry& entry : kBackends)
    if (entry.built) names[count++] = entry.name;
  return names;
}();

}  // namespace

std::span<const char* const> backend_names() { return kNames; }

namespace {

// The GPU if it can be used, else the CPU, with a line that says why a GPU that is there is not used.
Result<std::shared_ptr<Backend>> open_best(int threads, bool repack) {
  auto cuda = make_cuda_backend({});
  if (cuda) return cuda;
  if (::access("/dev/nvidiactl", F_OK) == 0) log(LogLevel::kWarning, "the GPU is not used: {}", cuda.error().message);
  return make_cpu_backend({.threads = threads, .repack = repack});
}

}  // namespace

Result<std::shared_ptr<Backend>> open_backend(const std::string& name, int threads, bool repack) {
  if (threads < 0 || threads > 1024)
    return fail(ErrorCode::kInvalidArgument, "{} threads: give a number from 0 (one per core) to 1024", threads);
  if (name == "auto") return open_best(threads, repack);
  for (const Entry& entry : kBackends)
    if (name == entry.name) return entry.make(threads, repack);
  std::string known;
  for (const char* other : kNames) known += (known.empty() ? "" : ", ") + std::string(other);
  return fail(ErrorCode::kNotFound, "no backend is called '{}'; there are: {}", name, known);
}

std::vector<DeviceInfo> list_devices() {
  const CpuFeatures& features = cpu_features();
  const bool tiles = cpu::named_panel_kernels("amxint8") != nullptr;
  const char* set = tiles             ? "AVX-512; AMX with METALLIC_ISA=amxint8"
                    : features.avx512 ? "AVX-512"
                    : features.avx2   ? "AVX2"
                    : features.neon   ? "NEON"
                                      : "no vectors";
  DeviceInfo cpu{
      "cpu", fmt::format("{} processors, {} cores to use, {}", available_processors(), available_cores(), set), 0, 0, 0,
      ""};
  const uint64_t page = uint64_t(::sysconf(_SC_PAGESIZE));
  cpu.memory_bytes = uint64_t(::sysconf(_SC_PHYS_PAGES)) * page;
  cpu.free_bytes = uint64_t(::sysconf(_SC_AVPHYS_PAGES)) * page;
  std::vector<DeviceInfo> devices = {cpu};
  const auto gpus = cuda_devices();
  if (!gpus) {
    devices.push_back({"cuda", "NVIDIA GPU", 0, 0, 0, gpus.error().message});
    return devices;
  }
  for (const CudaDevice& gpu : *gpus) {
    std::string problem;
    if (gpu.major < 8) problem = "compute capability 8.0 or newer is needed";
    if (gpu.index > 0) problem = "only the first GPU is used so far; CUDA_VISIBLE_DEVICES chooses another one";
    devices.push_back({gpu.index == 0 ? "cuda" : fmt::format("cuda:{}", gpu.index),
                       fmt::format("{}, compute capability {}.{}, {} multiprocessors", gpu.name, gpu.major, gpu.minor,
                                   gpu.multiprocessors),
                       gpu.memory_bytes, gpu.free_bytes, gpu.bandwidth, std::move(problem)});
  }
  return devices;
}

uint64_t gpu_weight_bytes(Format format, int64_t rows, int64_t columns) {
  uint64_t bytes = uint64_t(rows) * *format_bytes(format, uint64_t(columns));
  cuda::visit_planes(format, [&]<class P>(P) { bytes = cuda::plane_sizes<P>(rows, columns).total; });
  return bytes;
}

Result<std::shared_ptr<Device>> Device::open(const std::string& name, int threads) {
  METALLIC_ASSIGN(std::shared_ptr<Backend> backend, open_backend(name, threads));
  return std::shared_ptr<Device>(std::move(backend));
}

}  // namespace metallic
