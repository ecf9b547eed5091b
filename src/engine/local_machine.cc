#include "engine/local_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "backend/backend.h"
#include "base/available_memory.h"
#include "base/disk_rate.h"
#include "base/error.h"
#include "base/log.h"
#include "base/processors.h"
#include "base/rate_cache.h"
#include "memory/measure_link.h"
#include "model/measure_kernels.h"

namespace metallic {
namespace {

// Handles of libraries, CUDA graphs and buffers for loading, beyond the context that list_devices() has made already.
constexpr uint64_t kGpuWorkBytes = uint64_t{384} << 20;
// A step reaches so much of the rate that its matrices reach when they follow one another: operations wait for all
// threads, and small ones stand between (docs/memory.md).
constexpr double kStepShare = 0.8;
constexpr double kReachableShare = 0.92;  // of the bandwidth that a GPU's clocks promise

class LocalMachine {
 public:
  LocalMachine(const GgufFile& file, const LocalMachineOptions& options)
      : file_(file), options_(options), cache_(RateCache::open()) {}

  Result<Machine> describe() {
    machine_.name = "this machine";
    machine_.ram_bytes = available_memory();
    const int threads = options_.threads > 0 ? options_.threads : available_cores();
    METALLIC_TRY(
        measure("cpu", fmt::format("{} with {} threads{}", processor_name(), threads, options_.repack ? "" : ", plain"),
                {machine_.ram_rate, machine_.cpu_rate, machine_.cpu_decode_rate, machine_.cpu_prompt_rate, nullptr}));
    METALLIC_TRY(describe_gpu());
    describe_disk();
    if (options_.measure != Measure::kKnown) cache_.save();
    return std::move(machine_);
  }

 private:
  struct Rates {
    double &read, &dot, &decode, &prompt;
    double* link = nullptr;  // to the device, if it has one
  };

  // The rates of a backend, known under names that begin with `device`.
  Status measure(const std::string& backend_name, const std::string& device, const Rates& rates) {
    if (options_.measure == Measure::kAll) cache_.forget(device);
    rates.read = cache_.find(device + " read").value_or(0);
    rates.dot = cache_.find(device + " dot").value_or(0);
    std::shared_ptr<Backend> backend;
    if (options_.measure != Measure::kKnown) {
      METALLIC_ASSIGN(backend, open_backend(backend_name, options_.threads, options_.repack));
      if (rates.read == 0) {
        const DeviceLimits limits = backend->measure_limits();
        cache_.set(device + " read", rates.read = limits.read_bytes_per_second);
        cache_.set(device + " dot", rates.dot = limits.dot_operations_per_second);
      }
    }
    if (rates.link != nullptr) {
      *rates.link = cache_.find(device + " link").value_or(0);
      if (*rates.link == 0 && backend != nullptr) *rates.link = measure_link(*backend);
      if (*rates.link > 0) cache_.set(device + " link", *rates.link);
    }
    METALLIC_ASSIGN(const KernelRates kernels, measure_kernels(backend.get(), file_, device, cache_));
    rates.decode = kStepShare * kernels.decode_bytes_per_second;
    rates.prompt = kernels.prompt_operations_per_second;
    return {};
  }

  Status describe_gpu() {
    if (options_.backend != "auto" && !options_.backend.starts_with("cuda")) return {};
    for (const DeviceInfo& device : list_devices()) {
      if (device.name != "cuda" || !device.problem.empty()) continue;
      machine_.has_gpu = true;
      machine_.gpu_name = device.description.substr(0, device.description.find(','));
      machine_.gpu_bytes = device.free_bytes;
      machine_.gpu_context_bytes = kGpuWorkBytes;
      double read = 0, dot = 0;
      METALLIC_TRY(measure("cuda", machine_.gpu_name,
                           {read, dot, machine_.gpu_decode_rate, machine_.gpu_prompt_rate, &machine_.link_rate}));
      machine_.gpu_rate = read > 0 ? read : kReachableShare * device.bandwidth;
      return {};
    }
    return {};
  }

  void describe_disk() {
    const std::string name = "disk " + disk_name(file_.path());
    if (options_.measure == Measure::kAll) cache_.forget(name);
    machine_.disk_rate = cache_.find(name).value_or(0);
    if (machine_.disk_rate > 0 || options_.measure == Measure::kKnown) return;
    const auto measured = measure_disk_rate(file_.path());
    if (!measured) {
      log(LogLevel::kInfo, "the disk's rate is not known: {}", measured.error().message);
      return;
    }
    cache_.set(name, machine_.disk_rate = *measured);
  }

  const GgufFile& file_;
  const LocalMachineOptions& options_;
  RateCache cache_;
  Machine machine_;
};

}  // namespace

Result<Machine> local_machine(const GgufFile& file, const LocalMachineOptions& options) {
  return LocalMachine(file, options).describe();
}

}  // namespace metallic
