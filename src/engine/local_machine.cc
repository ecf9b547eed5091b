#include "engine/local_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backend/backend.h"
#include "base/available_memory.h"
#include "base/disk_rate.h"
#include "base/error.h"
#include "base/log.h"
#include "base/processors.h"
#include "base/rate_cache.h"
#include "memory/measure_link.h"
#include "model/measure_kernels.h"
#include "model/measure_layers.h"

namespace metallic {
namespace {

// Handles of libraries, CUDA graphs and buffers for loading, beyond the context that list_devices() has made already.
constexpr uint64_t kGpuWorkBytes = uint64_t{384} << 20;
// Where whole layers could not be measured: a step reaches so much of the rate that its matrices reach when they follow
// one another, since operations wait for all threads, and small ones stand between.
constexpr double kStepShare = 0.8;
constexpr double kNothing = 1e-9;         // seconds of a block beside what is in the measured rates
constexpr double kReachableShare = 0.92;  // of the bandwidth that a GPU's clocks promise

// What the rates of layers depend on: two files alike in this run alike.
std::string model_key(const Config& config, const ModelSizes& sizes) {
  uint64_t bytes = 0, head = 0;
  for (const Block& block : sizes.blocks) (block.kind == BlockKind::kHead ? head : bytes) += block.cpu_bytes;
  return fmt::format("{} {}x{} {} {}+{}", config.spec->name, sizes.layers, config.width, config.ff_width, bytes, head);
}

// What does not fit into the memory that is free cannot be measured: nothing is known of it then.
template <class T>
Result<T> unless_short(Result<T> measured) {
  if (measured || measured.error().code != ErrorCode::kOutOfMemory) return measured;
  log(LogLevel::kInfo, "rates are assumed, as there is no room to measure them: {}", measured.error().message);
  return T{};
}

class LocalMachine {
 public:
  LocalMachine(const GgufFile& file, const Config& config, const ModelSizes& sizes, const LocalMachineOptions& options)
      : file_(file), config_(config), sizes_(sizes), options_(options), cache_(RateCache::open()) {}

  Result<Machine> describe() {
    machine_.name = "this machine";
    machine_.ram_bytes = available_memory();
    const int threads = options_.threads > 0 ? options_.threads : available_cores();
    cpu_name_ = name_with(threads);
    METALLIC_TRY(describe_cpu());
    METALLIC_TRY(describe_gpu());
    describe_disk();
    if (options_.measure != Measure::kKnown) cache_.save();
    return std::move(machine_);
  }

 private:
  bool measures() const { return options_.measure != Measure::kKnown; }

  static std::string name_with(int threads) { return fmt::format("{} with {} threads", processor_name(), threads); }

  // A backend to measure, or none where only what is known counts.
  Result<std::shared_ptr<Backend>> open(const std::string& name, bool repack) {
    if (!measures()) return std::shared_ptr<Backend>();
    return open_backend(name, options_.threads, repack);
  }

  Status measure_limits(Backend* backend, const std::string& device, double& read, double& dot) {
    read = cache_.find(device + " read").value_or(0);
    dot = cache_.find(device + " dot").value_or(0);
    if (read > 0 || backend == nullptr) return {};
    const DeviceLimits limits = backend->measure_limits();
    cache_.set(device + " read", read = limits.read_bytes_per_second);
    cache_.set(device + " dot", dot = limits.dot_operations_per_second);
    return {};
  }

  // Known or measured rates of whole layers; all 0 if neither.
  Result<LayerRates> layers(const std::shared_ptr<Backend>& backend, const std::string& device) {
    const std::string name = device + " " + model_key(config_, sizes_);
    struct Field {
      const char* name;
      double LayerRates::*to;
    };
    constexpr Field kFields[] = {{"decode", &LayerRates::decode_bytes_per_second},
                                 {"head", &LayerRates::head_bytes_per_second},
                                 {"prompt", &LayerRates::prompt_operations_per_second},
                                 {"long prompt", &LayerRates::long_prompt_operations_per_second},
                                 {"attention", &LayerRates::attention_bytes_per_second},
                                 {"prompt attention", &LayerRates::attention_operations_per_second}};
    LayerRates rates;
    for (const Field& field : kFields) rates.*field.to = cache_.find(name + ", " + field.name).value_or(0);
    if (rates.decode_bytes_per_second > 0 || backend == nullptr) return rates;
    METALLIC_ASSIGN(rates, unless_short(measure_layers(backend, file(), config_, sizes_)));
    for (const Field& field : kFields)
      if (rates.*field.to > 0) cache_.set(name + ", " + field.name, rates.*field.to);
    return rates;
  }

  // It outlives what is made of it here.
  std::shared_ptr<const GgufFile> file() const { return {std::shared_ptr<void>(), &file_}; }

  Result<KernelRates> kernels(Backend* backend, const std::string& device) {
    return unless_short(measure_kernels(backend, file_, device, cache_));
  }

  // Where a machine keeps what is measured of one of its devices.
  struct DeviceRates {
    double Machine::*decode, Machine::*prompt, Machine::*head, Machine::*attention, Machine::*attention_operations,
        Machine::*block_seconds, Machine::*long_prompt = nullptr;
  };

  // Of whole layers, or where they cannot be run, of products.
  Status measure_device(const std::shared_ptr<Backend>& backend, const std::string& name, const DeviceRates& to) {
    METALLIC_ASSIGN(const LayerRates whole, layers(backend, name));
    machine_.*to.decode = whole.decode_bytes_per_second;
    machine_.*to.prompt = whole.prompt_operations_per_second;
    if (to.long_prompt) machine_.*to.long_prompt = whole.long_prompt_operations_per_second;
    machine_.*to.head = whole.head_bytes_per_second;
    machine_.*to.attention = whole.attention_bytes_per_second;
    machine_.*to.attention_operations = whole.attention_operations_per_second;
    if (whole.decode_bytes_per_second > 0) {
      machine_.*to.block_seconds = kNothing;
      return {};
    }
    METALLIC_ASSIGN(const KernelRates products, kernels(backend.get(), name));
    machine_.*to.decode = kStepShare * products.decode_bytes_per_second;
    machine_.*to.prompt = products.prompt_operations_per_second;
    return {};
  }

  Status describe_cpu() {
    if (options_.measure == Measure::kAll) cache_.forget(cpu_name_);
    METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open("cpu", options_.repack));
    METALLIC_TRY(measure_limits(backend.get(), cpu_name_, machine_.ram_rate, machine_.cpu_rate));
    METALLIC_TRY(measure_device(
        backend, cpu_name_ + (options_.repack ? "" : ", plain"),
        {&Machine::cpu_decode_rate, &Machine::cpu_prompt_rate, &Machine::cpu_head_rate, &Machine::cpu_attention_rate,
         &Machine::cpu_attention_operation_rate, &Machine::cpu_block_seconds}));
    METALLIC_ASSIGN(const std::shared_ptr<Backend> plain, open("cpu", false));
    METALLIC_ASSIGN(const KernelRates direct, kernels(plain.get(), cpu_name_ + ", rows of the file"));
    machine_.cpu_file_rate = direct.decode_bytes_per_second;
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
      if (options_.measure == Measure::kAll) cache_.forget(machine_.gpu_name);
      METALLIC_ASSIGN(const std::shared_ptr<Backend> backend, open("cuda", true));
      double dot = 0;
      METALLIC_TRY(measure_limits(backend.get(), machine_.gpu_name, machine_.gpu_rate, dot));
      if (machine_.gpu_rate == 0) machine_.gpu_rate = kReachableShare * device.bandwidth;
      METALLIC_TRY(measure_device(
          backend, machine_.gpu_name,
          {&Machine::gpu_decode_rate, &Machine::gpu_prompt_rate, &Machine::gpu_head_rate, &Machine::gpu_attention_rate,
           &Machine::gpu_attention_operation_rate, &Machine::gpu_block_seconds, &Machine::gpu_long_prompt_rate}));
      return measure_sharing(backend);
    }
    return {};
  }

  // What host and device reach while both work.
  Status measure_sharing(const std::shared_ptr<Backend>& device) {
    const std::string link = machine_.gpu_name + " link alone", handover = machine_.gpu_name + " hand-over to a worker";
    const int threads = threads_beside_gpu(options_.threads);
    const std::string beside = name_with(threads) + " products beside copies " + model_key(config_, sizes_);
    machine_.link_rate = cache_.find(link).value_or(0);
    machine_.handover_seconds = cache_.find(handover).value_or(0);
    machine_.cpu_product_rate = cache_.find(beside).value_or(0);
    machine_.link_shared_rate = cache_.find(beside + ", link").value_or(0);
    if (measures()) METALLIC_TRY(measure_missing_sharing(device, threads, link, handover, beside));
    if (machine_.cpu_product_rate > 0 && machine_.link_shared_rate > 0)
      machine_.ram_traffic_rate = std::max(machine_.ram_rate, machine_.cpu_product_rate + machine_.link_shared_rate);
    return {};
  }

  Status measure_missing_sharing(const std::shared_ptr<Backend>& device, int threads, const std::string& link,
                                 const std::string& handover, const std::string& beside) {
    METALLIC_ASSIGN(const std::shared_ptr<Backend> host, open_backend("cpu", threads));
    if (machine_.link_rate == 0) cache_.set(link, machine_.link_rate = measure_link(*device));
    if (machine_.handover_seconds == 0)
      cache_.set(handover, machine_.handover_seconds = measure_handover(*device, *host));
    if (machine_.cpu_product_rate > 0 && machine_.link_shared_rate > 0) return {};
    std::optional<BackgroundCopies> copies;
    METALLIC_ASSIGN(machine_.cpu_product_rate,
                    unless_short(measure_products(host, file(), config_, sizes_, [&] { copies.emplace(device); })));
    machine_.link_shared_rate = copies ? copies->stop() : 0;
    if (machine_.cpu_product_rate > 0) cache_.set(beside, machine_.cpu_product_rate);
    if (machine_.link_shared_rate > 0) cache_.set(beside + ", link", machine_.link_shared_rate);
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
  const Config& config_;
  const ModelSizes& sizes_;
  const LocalMachineOptions& options_;
  std::string cpu_name_;
  RateCache cache_;
  Machine machine_;
};

}  // namespace

Result<Machine> local_machine(const GgufFile& file, const Config& config, const ModelSizes& sizes,
                              const LocalMachineOptions& options) {
  return LocalMachine(file, config, sizes, options).describe();
}

bool is_measured(const Machine& machine) {
  return machine.cpu_decode_rate > 0 && machine.gpu_decode_rate > 0 && machine.cpu_product_rate > 0 &&
         machine.link_rate > 0 && machine.link_shared_rate > 0 && machine.handover_seconds > 0;
}

}  // namespace metallic
