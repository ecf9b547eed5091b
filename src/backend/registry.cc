// The backends, best first.
#include <algorithm>
#include <array>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/cuda/cuda.h"
#include "backend/reference/reference.h"
#include "base/error.h"

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
  Result<std::shared_ptr<Backend>> (*make)(int threads);
};

constexpr std::array kBackends = {
    Entry{"cpu", true, [](int threads) { return make_cpu_backend(threads); }},
    Entry{"reference", true,
          [](int threads) { return Result<std::shared_ptr<Backend>>(make_reference_backend(threads)); }},
    Entry{"cuda", kCudaBuilt, [](int) { return make_cuda_backend({}); }},
    Entry{"cuda-reproducible", kCudaBuilt, [](int) { return make_cuda_backend({.reproducible = true}); }},
};

constexpr size_t kBuilt = size_t(std::count_if(kBackends.begin(), kBackends.end(), [](const Entry& e) { return e.built; }));

constexpr auto kNames = [] {
  std::array<const char*, kBuilt> names{};
  size_t count = 0;
  for (const Entry& entry : kBackends)
    if (entry.built) names[count++] = entry.name;
  return names;
}();

}  // namespace

std::span<const char* const> backend_names() { return kNames; }

Result<std::shared_ptr<Backend>> open_backend(const std::string& name, int threads) {
  if (threads < 0 || threads > 1024)
    return fail(ErrorCode::kInvalidArgument, "{} threads: give a number from 0 (one per processor) to 1024", threads);
  for (const Entry& entry : kBackends)
    if (name == entry.name) return entry.make(threads);
  std::string known;
  for (const char* other : kNames) known += (known.empty() ? "" : ", ") + std::string(other);
  return fail(ErrorCode::kNotFound, "no backend is called '{}'; there are: {}", name, known);
}

Result<std::shared_ptr<Device>> Device::open(const std::string& name, int threads) {
  METALLIC_ASSIGN(std::shared_ptr<Backend> backend, open_backend(name, threads));
  return std::shared_ptr<Device>(std::move(backend));
}

}  // namespace metallic
