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
constexpr double kWorthMoving = 0.03;  // of the choices, that would be of experts that stay
constexpr int kLooksAtPlenty = 10;     // after so many in a row, what others gave back is used

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
  asked_gpu_bytes_ = planned_->constraints.gpu_bytes;
  next_choices_ = uint64_t(kTokensFirst * choices_of_a_token(planned_->sizes.blocks));
  // What was allocated for sequences stays as it is, and where it is.
  Constraints& asked = planned_->constraints;
  asked.context = planned_->plan.context;
  asked.batch_rows = planned_->plan.batch_rows;
  asked.needs_gpu = planned_->plan.uses_gpu();
  asked.no_gpu = !asked.needs_gpu;
  if (asked.needs_gpu) asked.kv_offload = KvOffload::kOn;
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
  asked_gpu_bytes_ = memory.gpu_bytes;
  return move_to(std::move(plan), asked, "other budgets were asked for");
}

// A quarter of the weights less where they are computed with. False if there are none left.
bool LiveModel::less(Constraints& asked) const {
  const Spending& spending = on_gpu() ? planned_->plan.gpu : planned_->plan.ram;
  if (spending.weights == 0) return false;
  const uint64_t weights =
      spending.weights - std::min(spending.weights, std::max(spending.weights / 4, surroundings_.least_step));
  (on_gpu() ? asked.gpu_bytes : asked.ram_bytes) = spending.total() - spending.weights + weights;
  asked.gpu_layers = -1;
  return true;
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

bool LiveModel::should_look() {
  if (!on_gpu() || !surroundings_.free_gpu_bytes || broken_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < surroundings_.look_every) return false;
  looked_ = now;
  return true;
}

Status LiveModel::look() {
  const uint64_t used = planned_->plan.gpu.total(), free = surroundings_.free_gpu_bytes();
  if (free == 0) return {};
  const uint64_t all = used + free, margin = all - default_budget(all);
  Constraints asked = planned_->constraints;
  if (free < margin / 2 && planned_->plan.gpu.weights > 0) {
    looks_at_plenty_ = 0;
    asked.gpu_layers = -1;
    asked.gpu_bytes = std::max(used - planned_->plan.gpu.weights, all - margin);
    auto plan = plan_within(asked);
    if (!plan) return {};  // what cannot be given up is more than the rest
    return move_to(std::move(*plan), asked, "another process has taken memory of the GPU");
  }
  const uint64_t limit = asked_gpu_bytes_ > 0 ? std::min(asked_gpu_bytes_, all - margin) : all - margin;
  if (all_stay(planned_->plan) || limit < used + used / 8 + surroundings_.least_step) {
    looks_at_plenty_ = 0;
    return {};
  }
  if (++looks_at_plenty_ < kLooksAtPlenty) return {};
  looks_at_plenty_ = 0;
  asked.gpu_bytes = limit;
  auto plan = plan_within(asked);
  if (!plan || plan->request_seconds >= planned_->plan.request_seconds) return {};
  return move_to(std::move(*plan), asked, "the GPU has more memory to give");
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
