// An engine over a tiny model on a machine that a test makes up.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/make_engine.h"
#include "memory/faulty_reader.h"
#include "model/random_model.h"
#include "support/fake_device.h"
#include "support/golden.h"

namespace metallic::testing {

constexpr uint64_t kPlenty = uint64_t{1} << 30;

// Of random weights, with 33 slices of 52 KB: so many that a plan may have some in each place.
inline RandomModelSpec sliced_model() {
  ModelShape shape{};
  shape.name = "sliced";
  shape.architecture = "llama";
  shape.layers = 8;
  shape.width = 128;
  shape.ff_width = 512;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 32;
  shape.vocab = 256;
  shape.rope_base = 10000;
  return {shape, find_quantize_type("q8_0").value()};
}
constexpr uint64_t kSmallestSlice = uint64_t{1} << 16;

// A tiny model on a machine of our own making.
struct Bench {
  enum File { kTiny, kSliced };

  std::string path = model_path("qwen2.gguf");
  std::optional<MemoryFile> random_file;  // the sliced one, instead
  EngineOptions options;
  std::shared_ptr<FakeDevice> device;   // none: the CPU alone
  uint64_t free_gpu = 0, free_ram = 0;  // what other processes leave; 0: nobody knows
  uint64_t own_ram = 0;                 // what this one has taken; 0: all that is planned
  double ram_stalls = 0;
  std::shared_ptr<FaultyReader::Faults> faults = std::make_shared<FaultyReader::Faults>();
  Machine machine;

  explicit Bench(bool gpu, File file = kTiny) {
    if (file == kSliced) {
      random_file.emplace(MemoryFile::of_random_model(sliced_model(), 1).value());
      path = random_file->path();
    }
    options.backend = gpu ? "auto" : "cpu";
    options.threads = 1;
    options.context = 64;
    options.batch_rows = 16;
    options.max_sequences = 3;
    options.kv_formats = Format::kF32;
    machine.name = "bench";
    machine.ram_bytes = kPlenty;
    machine.has_gpu = gpu;
    machine.gpu_bytes = gpu ? kPlenty : 0;
    if (gpu) machine.gpu_rate = 1e15, machine.gpu_operation_rate = 1e18;  // so that the planner wants it
    if (gpu) device = std::make_shared<FakeDevice>();
  }

  Result<std::unique_ptr<Engine>> load() {
    METALLIC_ASSIGN(GgufFile opened, GgufFile::open(path));
    const auto file = std::make_shared<const GgufFile>(std::move(opened));
    METALLIC_ASSIGN(const Config config, read_config(*file));
    PlacedModel placed;
    METALLIC_ASSIGN(placed.planned, plan_model(*file, config, plan_request(), machine));
    const PlannedModel& made = *placed.planned;
    EXPECT_EQ(made.plan.uses_gpu(), device != nullptr);
    std::shared_ptr<Backend> backend = device;
    if (backend == nullptr) backend = *open_backend("cpu", 1, made.sizes.packed);
    Surroundings surroundings;
    surroundings.make_reader = [this] { return std::make_unique<FaultyReader>(make_file_reader(), faults); };
    surroundings.free_gpu_bytes = [this] { return free_gpu; };
    surroundings.free_ram_bytes = [this] { return free_ram; };
    surroundings.own_ram_bytes = [this] { return own_ram; };
    surroundings.ram_stalls = [this] { return ram_stalls; };
    surroundings.look_every = std::chrono::milliseconds(0);
    surroundings.host_threads = 1;
    surroundings.least_step = kSmallestSlice;
    METALLIC_ASSIGN(placed.model,
                    Model::load(file, std::move(backend), made.sizes.blocks, made.plan, surroundings.make_reader, 1));
    return make_engine(std::move(placed), options, std::move(surroundings));
  }

  PlanRequest plan_request() const { return {.options = options, .smallest_slice = kSmallestSlice}; }

  // At most so much where weights are computed with.
  MemoryOptions within(uint64_t bytes) const {
    MemoryOptions memory;
    (device ? memory.gpu_bytes : memory.ram_bytes) = bytes;
    return memory;
  }

  // What a plan takes without any weights in memory, and with all of them.
  struct Range {
    uint64_t least, most, weights;
  };
  Range range() const {
    const GgufFile file = GgufFile::open(path).value();
    const PlannedModel planned = plan_model(file, read_config(file).value(), plan_request(), machine).value();
    const Spending& all = device ? planned.plan.gpu : planned.plan.ram;
    uint64_t ring = 0;  // an upper bound
    for (const Block& block : planned.sizes.blocks)
      if (block.kind != BlockKind::kEmbedding)
        ring = std::max(ring, (device ? 4 : 8) * (std::max(block.gpu_bytes, block.file_bytes) / uint64_t(block.slices) +
                                                  uint64_t{16384}));
    return {all.total() - all.weights + ring, all.total(), all.weights};
  }
};

inline Request request(int number) {
  Request request;
  for (int i = 0; i <= 5 + number * 7; ++i) request.prompt.push_back(TokenId(1 + (number * 31 + i * 7) % 50));
  request.max_tokens = 20;
  request.sampling.temperature = 0.9f;
  request.sampling.seed = uint64_t(number);
  request.ignore_end = true;
  return request;
}

// The answers to requests that run together, with `between` called before each step.
inline std::vector<std::vector<TokenId>> answers(Engine& engine, const std::function<void(int)>& between, int count = 3,
                                                 int max_tokens = 20) {
  std::vector<RequestId> ids;
  for (int i = 0; i < count; ++i) {
    Request one = request(i);
    one.max_tokens = max_tokens;
    ids.push_back(engine.submit(std::move(one)).value());
  }
  for (int step = 0; !engine.idle(); ++step) {
    between(step);
    const Status status = engine.step();
    EXPECT_TRUE(status) << (status ? "" : status.error().message);
    if (!status) return {};
  }
  std::vector<std::vector<TokenId>> result;
  for (const RequestId id : ids) result.push_back(engine.take(id).value().tokens);
  return result;
}

// The same while the budget goes down to the least that is possible in so many steps, and up again; where the weights
// were comes to `places`.
inline std::vector<std::vector<TokenId>> answers_while_moving(Engine& engine, const Bench& bench, int parts,
                                                              std::set<std::string>& places) {
  const Bench::Range range = bench.range();
  return answers(engine, [&](int step) {
    const int at = std::abs(parts - step % (2 * parts));
    const Status moved =
        engine.set_memory(bench.within(range.least + (range.most - range.least) * uint64_t(at) / uint64_t(parts)));
    ASSERT_TRUE(moved) << moved.error().message;
    places.insert(engine.info().weight_places);
  });
}

}  // namespace metallic::testing
