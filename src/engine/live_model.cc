#include "engine/live_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/available_memory.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "memory/explain.h"

namespace metallic {
namespace {

constexpr double kTokensFirst = 64;    // after which experts are looked at; then after twice as many
constexpr double kWorthMoving = 0.03;  // of the choices, that would be of experts that stay; of a request's time
constexpr int kLooksAtPlenty = 10;     // after so many in a row, what others gave back is used
constexpr double kStalled = 0.1;       // of the time: memory is shorter than it looks

uint64_t free_gpu_bytes() {
  for (const DeviceInfo& device : list_devices())
    if (device.name == "cuda" && device.problem.empty()) return device.free_bytes;
  return 0;
}

bool same_places(const Plan& a, const Plan& b) {
  const auto same = [](const Placement& x, const Placement& y) {
    return x.place == y.place && x.gpu == y.gpu && x.disk == y.disk && x.decode_cpu == y.decode_cpu;
  };
  return a.gpu_ring_bytes == b.gpu_ring_bytes && a.disk_ring_bytes == b.disk_ring_bytes &&
         std::equal(a.places.begin(), a.places.end(), b.places.begin(), b.places.end(), same);
}

// Choices of experts that a token makes.
double choices_of_a_token(const std::vector<Block>& blocks) {
  double choices = 0;
  for (const Block& block : blocks) choices += block.kind == BlockKind::kExpert ? block.use : 0;
  return choices;
}

}  // namespace

Surroundings real_surroundings() {
  Surroundings surroundings;
  surroundings.free_gpu_bytes = free_gpu_bytes;
  surroundings.free_ram_bytes = [] { return available_memory(); };
  surroundings.own_ram_bytes = [] { return own_memory(); };
  surroundings.ram_stalls = [] { return memory_stalls(); };
  return surroundings;
}

LiveModel::LiveModel(PlacedModel placed, int rows, int context, Surroundings surroundings)
    : model_(std::move(placed.model)),
      planned_(std::move(placed.planned)),
      parts_(model_->parts()),
      rows_(rows),
      context_(context),
      surroundings_(std::move(surroundings)),
      looked_(std::chrono::steady_clock::now()) {
  if (!planned_) return;
  gpu_.asked = planned_->constraints.gpu_bytes;
  ram_.asked = planned_->constraints.ram_bytes;
  next_choices_ = uint64_t(kTokensFirst * choices_of_a_token(planned_->sizes.blocks));
  // What was allocated for sequences stays as it is, and where it is.
  Constraints& asked = planned_->constraints;
  asked.context = planned_->plan.context;
  asked.batch_rows = planned_->plan.batch_rows;
  asked.needs_gpu = planned_->plan.uses_gpu();
  asked.no_gpu = !asked.needs_gpu;
  if (asked.needs_gpu) asked.kv_offload = kv_beside_gpu(planned_->plan) ? KvOffload::kOff : KvOffload::kOn;
}

Result<std::unique_ptr<LiveModel>> LiveModel::create(PlacedModel placed, int rows, int context,
                                                     Surroundings surroundings) {
  std::unique_ptr<LiveModel> live(new LiveModel(std::move(placed), rows, context, std::move(surroundings)));
  METALLIC_TRY(live->make_decoder());
  return live;
}

Status LiveModel::make_decoder() {
  METALLIC_ASSIGN(Decoder decoder,
                  Decoder::create(model_->config(), model_->weights(), model_->backend(), rows_, context_));
  decoder_ = std::make_unique<Decoder>(std::move(decoder));
  return {};
}

Status LiveModel::usable() const {
  if (broken_) return tl::unexpected<Error>(*broken_);
  return {};
}

// With what the model has as free.
Result<Plan> LiveModel::plan_within(const Constraints& asked) const {
  Machine machine = planned_->machine;
  const uint64_t gpu = surroundings_.free_gpu_bytes ? surroundings_.free_gpu_bytes() : 0;
  const uint64_t ram = surroundings_.free_ram_bytes ? surroundings_.free_ram_bytes() : 0;
  if (on_gpu() && gpu > 0) machine.gpu_bytes = planned_->plan.gpu.total() + gpu;
  if (ram > 0) machine.ram_bytes = planned_->plan.ram.total() + ram;
  return make_plan(planned_->sizes, machine, asked);
}

Status LiveModel::set_budgets(const MemoryOptions& memory) {
  if (!planned_)
    return fail(ErrorCode::kUnsupported, "{}: the places of this model's weights are not planned, and cannot change",
                parts_.file->path());
  METALLIC_TRY(usable());
  Constraints asked = planned_->constraints;
  asked.gpu_bytes = memory.gpu_bytes;
  asked.ram_bytes = memory.ram_bytes;
  asked.gpu_layers = memory.gpu_layers;
  METALLIC_ASSIGN(Plan plan, plan_within(asked));
  gpu_.asked = memory.gpu_bytes;
  ram_.asked = memory.ram_bytes;
  return move_to(std::move(plan), asked, "other budgets were asked for");
}

// A quarter of the weights less where they are computed with; beside a GPU, in RAM if that looks short or the GPU has
// none left. False if there is nothing to take.
bool LiveModel::less(Constraints& asked) const {
  const auto take = [&](const Watched& memory) {
    const Spending& spending = planned_->plan.*memory.spending;
    const uint64_t step = std::min(spending.weights, std::max(spending.weights / 4, surroundings_.least_step));
    const uint64_t budget = std::max(spending.total() - step, least_use(memory));
    if (budget >= spending.total()) return false;
    asked.*memory.budget = budget;
    asked.gpu_layers = -1;
    return true;
  };
  if (!on_gpu()) return take(ram_);
  return is_short(ram_) ? take(ram_) || take(gpu_) : take(gpu_) || take(ram_);
}

Status LiveModel::shrink() {
  METALLIC_TRY(usable());
  Constraints asked = planned_ ? planned_->constraints : Constraints();
  if (!planned_ || !less(asked))
    return fail(ErrorCode::kOutOfMemory, "{}: memory is short, and no weights are left to take from it",
                parts_.file->path());
  METALLIC_ASSIGN(Plan plan, plan_within(asked));
  return move_to(std::move(plan), asked, "memory is short");
}

// Weights of a mapped file that the processor reads where they are take no RAM that the page cache does not give back.
bool LiveModel::is_watched(const Watched& memory) const {
  if (!planned_ || broken_ || !(surroundings_.*memory.free)) return false;
  return on_gpu() || (&memory == &ram_ && planned_->sizes.packed);
}

bool LiveModel::should_look() {
  if (!is_watched(gpu_) && !is_watched(ram_)) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < surroundings_.look_every) return false;
  looked_ = now;
  return true;
}

Status LiveModel::look() {
  for (Watched* memory : {&gpu_, &ram_})
    if (is_watched(*memory)) METALLIC_TRY(look_at(*memory));
  return {};
}

// Of a memory, without any weights in it: what leaves RAM is read from disk, by way of a ring.
uint64_t LiveModel::least_use(const Watched& memory) const {
  const Spending& spending = planned_->plan.*memory.spending;
  const uint64_t others = spending.total() - spending.weights;
  return &memory == &ram_ ? others - spending.ring + disk_ring_bytes(planned_->sizes) : others;
}

// What this process may use of a memory, if nobody else takes any of it. RAM counts as taken when it is first written,
// which keys and values may be much later; what is pinned for a GPU is written at once, but is not told apart.
uint64_t LiveModel::for_this_and_free(const Watched& memory, uint64_t free) const {
  const Spending& spending = planned_->plan.*memory.spending;
  if (&memory == &gpu_) return spending.total() + free;
  if (on_gpu()) return spending.total() - spending.kv - spending.activations + free;
  const uint64_t own = surroundings_.own_ram_bytes ? surroundings_.own_ram_bytes() : 0;
  return (own > 0 ? std::min(own, spending.total()) : spending.total()) + free;
}

// Less than half of the margin that a budget would leave is free.
bool LiveModel::is_short(const Watched& memory) const {
  const auto& reader = surroundings_.*memory.free;
  const uint64_t free = reader ? reader() : 0;
  if (free == 0) return false;
  const uint64_t all = for_this_and_free(memory, free);
  return free < (all - default_budget(all)) / 2;
}

// Where memory is short, the margin is given back. Between half of it and one and a half nothing moves, so that weights
// do not go to and fro.
Status LiveModel::look_at(Watched& memory) {
  const Plan& plan = planned_->plan;
  const Spending& spending = plan.*memory.spending;
  const uint64_t used = spending.total(), free = (surroundings_.*memory.free)();
  if (free == 0) return {};
  const uint64_t all = for_this_and_free(memory, free), margin = all - default_budget(all);
  const bool stalled = &memory == &ram_ && surroundings_.ram_stalls && surroundings_.ram_stalls() >= kStalled;
  Constraints asked = planned_->constraints;
  if (spending.weights > 0 && free < (stalled ? margin : margin / 2)) {
    memory.looks_at_plenty = 0;
    asked.gpu_layers = -1;
    asked.*memory.budget = std::max(least_use(memory), all - margin);
    if (asked.*memory.budget >= used) return {};
    auto less = plan_within(asked);
    if (!less) return {};  // what cannot be given up is more than the rest
    return move_to(std::move(*less), asked, fmt::format("another process has taken {}", memory.name));
  }
  const uint64_t there = all - margin, limit = memory.asked > 0 ? std::min(memory.asked, there) : there;
  const bool wants_more = &memory == &ram_ ? reads_disk(plan) : !all_stay(plan);
  if (!wants_more || stalled || there < used + margin / 2 || limit < used + surroundings_.least_step) {
    memory.looks_at_plenty = 0;
    return {};
  }
  if (++memory.looks_at_plenty < kLooksAtPlenty) return {};
  memory.looks_at_plenty = 0;
  asked.*memory.budget = limit;
  auto more = plan_within(asked);
  if (!more || more->request_seconds > (1 - kWorthMoving) * plan.request_seconds) return {};
  return move_to(std::move(*more), asked, fmt::format("there is more {} to use", memory.name));
}

bool LiveModel::should_follow_experts() const {
  return planned_ && !broken_ && model_->residency() != nullptr && next_choices_ > 0 &&
         parts_.use->choices() >= next_choices_;
}

Status LiveModel::follow_experts() {
  next_choices_ = 2 * parts_.use->choices();
  PlannedModel& planned = *planned_;
  std::vector<Block> blocks = planned.sizes.blocks;
  parts_.use->tell(blocks);
  std::swap(blocks, planned.sizes.blocks);  // now those of before are in `blocks`
  auto plan = plan_within(planned.constraints);
  if (!plan || expected_hit_rate(planned.sizes.blocks, *plan) <
                   expected_hit_rate(planned.sizes.blocks, planned.plan) + kWorthMoving) {
    std::swap(blocks, planned.sizes.blocks);
    return {};
  }
  const Status moved =
      move_to(std::move(*plan), planned.constraints, "experts are used otherwise than was assumed: " + experts_text());
  if (!moved) std::swap(blocks, planned.sizes.blocks);
  return moved;
}

std::string LiveModel::experts_text() const {
  if (!planned_ || parts_.use->choices() == 0) return "";
  std::string text = fmt::format("{:.0f} % of {} choices were of experts that stay where they are computed with",
                                 100 * parts_.use->hit_rate(), parts_.use->choices());
  const Residency* residency = model_ ? model_->residency() : nullptr;
  if (residency == nullptr || residency->experts() == nullptr) return text;
  const ExpertStatistics cache = residency->experts()->statistics();
  if (cache.hits + cache.misses == 0) return text;
  return text + fmt::format("; of {} wanted from disk, {:.0f} % were there", cache.hits + cache.misses,
                            100 * double(cache.hits) / double(cache.hits + cache.misses));
}

// What it takes to compute with a plan; what cannot be placed is an error, and then there is no model.
Status LiveModel::place(const Plan& plan) {
  decoder_.reset();
  model_.reset();
  METALLIC_ASSIGN(model_, Model::assemble(parts_, planned_->sizes.blocks, plan, surroundings_.make_reader,
                                          surroundings_.host_threads));
  METALLIC_TRY(make_decoder());
  return model_->backend().synchronize();
}

// The old plan goes first, so that there is room for the new one. After a failure that is not one of memory, the old
// plan again.
Status LiveModel::move_to(Plan plan, Constraints asked, const std::string& why) {
  const Plan before = planned_->plan;
  const Constraints asked_before = planned_->constraints;
  if (same_places(plan, before)) {
    planned_->plan = std::move(plan);
    planned_->constraints = std::move(asked);
    return {};
  }
  log(LogLevel::kWarning, "weights move, since {}: {} instead of {}", why, places_in_brief(plan, planned_->sizes),
      places_in_brief(before, planned_->sizes));
  Status status;
  for (;;) {
    planned_->plan = plan;
    planned_->constraints = asked;
    status = place(plan);
    if (status || status.error().code != ErrorCode::kOutOfMemory || !less(asked)) break;
    auto smaller = plan_within(asked);
    if (!smaller) break;
    plan = std::move(*smaller);
    log(LogLevel::kWarning, "that did not fit ({}); now {}", status.error().message,
        places_in_brief(plan, planned_->sizes));
  }
  if (!status) {
    planned_->plan = before;
    planned_->constraints = asked_before;
    if (const Status restored = place(before); !restored) {
      model_.reset();
      broken_ = restored.error();
    }
    return status;
  }
  ++moves_;
  parts_.use->restart();
  if (log_enabled(LogLevel::kInfo))
    log(LogLevel::kInfo, "the plan:\n{}", explain_text(planned_->sizes, planned_->machine, planned_->plan));
  return {};
}

}  // namespace metallic
