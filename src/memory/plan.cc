// The planner tries every way to lay the blocks out that it knows: orders of importance, places of the keys and values,
// with a ring for copies or without, and every cut of the order between GPU, RAM and disk. More of a budget only adds
// ways to try, so that it never makes a plan slower; the CPU alone is one of the ways.
#include "memory/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "memory/line.h"
#include "memory/time_model.h"

namespace metallic {
namespace {

constexpr int kSteps = 256;  // cuts between GPU and the rest that are looked at before the best is refined
// In the GPU's memory: of four, one is in use, one complete, two on their way; more come while blocks that stay
// compute.
constexpr int kRings[] = {4, 8, 12, 16}, kNone[] = {0};
constexpr int kDiskPieces = 8;  // in RAM: as deep a queue as disks like
constexpr int kLeastContext = 256;
constexpr double kLongPrompt = 4;          // times the prompt
constexpr double kLongPromptShare = 0.25;  // of the requests

double gigabytes(uint64_t bytes) { return double(bytes) / 1e9; }

uint64_t aligned(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

// Of all blocks that are multiplied by.
uint64_t largest_slice(const ModelSizes& sizes, uint64_t Block::*bytes) {
  uint64_t largest = 0;
  for (const Block& block : sizes.blocks) {
    const uint64_t slices = uint64_t(std::max(1, block.slices));
    if (block.kind != BlockKind::kEmbedding) largest = std::max(largest, (block.*bytes + slices - 1) / slices);
  }
  return largest;
}

// One way to lay out everything but the cut.
struct Way {
  bool gpu = false;
  int ring = 0;  // pieces
  BlockOrder order = BlockOrder::kByLayer;
  KvPlace kv = KvPlace::kRam;
  int rows = 0, context = 0;
};

// A way with its cut, and how long things take then.
struct Choice {
  Way way;
  int on_gpu = 0, in_ram = 0;  // slices
  double seconds = std::numeric_limits<double>::infinity();
  double prompt_seconds = 0, long_prompt_seconds = 0;
  StepTime decode;
  double decode_cpu = 1, prompt_cpu = 1;
  bool attention_comes = false;  // in steps of few tokens all of RAM's by the link
};

class Planner {
 public:
  Planner(const ModelSizes& sizes, const Machine& machine, const Constraints& constraints);
  Result<Plan> run();

 private:
  Status check() const;
  bool search();  // whether anything fits: then the best is best_
  std::vector<Way> ways(int context) const;
  // What all cuts of a way share.
  struct Tables {
    const Line* line = nullptr;
    std::vector<StepKind> kinds;
    std::vector<std::vector<Line::Sums>> sums;
  };
  void try_way(Way way);
  std::optional<std::pair<int, int>> gpu_slices(const Way& way, const Line& line) const;
  void try_cuts(const Way& way, const Tables& tables, int least, int most);
  void try_cut(const Way& way, const Tables& tables, int on_gpu, int in_ram);
  std::vector<StepKind> step_kinds(const Way& way, const Machine& machine) const;

  uint64_t kv_layer_bytes(int context) const;
  uint64_t kv_bytes(const Way& way) const { return kv_layer_bytes(way.context) * uint64_t(sizes_.layers); }
  uint64_t activation_bytes(const Way& way) const;
  uint64_t gpu_fixed(const Way& way) const;
  uint64_t ram_fixed(const Way& way, bool all_on_gpu) const;
  // Whether the CPU computes anything.
  static bool has_cpu_work(const Way& way, bool all_on_gpu) { return !all_on_gpu || way.kv != KvPlace::kGpu; }
  uint64_t gpu_ring_bytes(const Way& way) const { return uint64_t(way.ring) * gpu_piece_; }
  const Machine& machine_of(const Way& way) const { return way.gpu ? machine_ : cpu_only_; }
  Line line_of(const Way& way) const;

  Plan plan_of(const Choice& choice) const;
  Placement place_block(const Choice& choice, const Block& block, int gpu_slices, bool disk) const;
  // Of fewer layers on the GPU than were asked for as many as can be planned; -1: none, or none was asked for.
  int most_layers() const;
  tl::unexpected<Error> nothing_fits() const;

  const ModelSizes& sizes_;
  const Constraints& asked_;
  Machine machine_, cpu_only_;
  uint64_t gpu_budget_ = 0, ram_budget_ = 0;
  uint64_t gpu_piece_ = 0, disk_ring_ = 0;
  int longest_context_ = 0;
  std::vector<bool> asked_blocks_;          // -ngl
  std::array<std::vector<int>, 3> orders_;  // by BlockOrder
  Choice best_;
};

Planner::Planner(const ModelSizes& sizes, const Machine& machine, const Constraints& constraints)
    : sizes_(sizes), asked_(constraints), machine_(with_defaults(machine)) {
  if (constraints.no_gpu) machine_.has_gpu = false;
  if (!machine_.has_gpu) machine_.gpu_bytes = 0;
  cpu_only_ = machine_;
  cpu_only_.has_gpu = false;
  const auto budget = [](uint64_t asked, uint64_t free) {
    return asked > 0 ? std::min(asked, free) : default_budget(free);
  };
  gpu_budget_ = machine_.has_gpu ? budget(constraints.gpu_bytes, machine_.gpu_bytes) : 0;
  ram_budget_ = budget(constraints.ram_bytes, machine_.ram_bytes);
  gpu_piece_ = aligned(largest_slice(sizes, &Block::gpu_bytes), 256);
  disk_ring_ = disk_ring_bytes(sizes);
  longest_context_ = constraints.context;
  if (constraints.context > 0) return;
  longest_context_ = constraints.longest_context;
  if (sizes.context_length > 0) longest_context_ = std::min(longest_context_, sizes.context_length);
}

Status Planner::check() const {
  if (sizes_.blocks.empty() || sizes_.layers < 1)
    return fail(ErrorCode::kInvalidArgument, "a model without blocks of weights cannot be planned");
  for (const Block& block : sizes_.blocks)
    if (block.slices < 1 || !(block.use >= 0 && block.use <= 1) || block.layer >= sizes_.layers)
      return fail(ErrorCode::kInvalidArgument, "a block of {} slices, used with probability {}, in layer {} of {}",
                  block.slices, block.use, block.layer, sizes_.layers);
  if (asked_.sequences < 1 || longest_context_ < 1 || asked_.context < 0 || asked_.batch_rows < 0 ||
      asked_.prompt_tokens < 1 || asked_.answer_tokens < 0)
    return fail(ErrorCode::kInvalidArgument, "{} sequences, a context of {} and a batch of {}: all must be positive",
                asked_.sequences, longest_context_, asked_.batch_rows);
  if (asked_.gpu_layers > 0 && !machine_.has_gpu)
    return fail(ErrorCode::kInvalidArgument, "{} layers on the GPU were asked for (-ngl), but there is none to use",
                asked_.gpu_layers);
  if (asked_.needs_gpu && !machine_.has_gpu)
    return fail(ErrorCode::kInvalidArgument, "a GPU was asked for, but there is none to use");
  if (asked_.kv_offload == KvOffload::kOn && !machine_.has_gpu)
    return fail(ErrorCode::kInvalidArgument, "the KV cache was asked to be on the GPU, but there is none to use");
  return {};
}

uint64_t Planner::kv_layer_bytes(int context) const {
  const uint64_t page = uint64_t(std::max(1, sizes_.page_tokens));
  uint64_t positions = aligned(uint64_t(context), page) * uint64_t(asked_.sequences);
  if (asked_.kv_tokens > 0)  // one sequence at least has all of its context
    positions = std::min(positions, aligned(uint64_t(std::max<int64_t>(asked_.kv_tokens, context)), page));
  return positions * sizes_.kv_token_bytes;
}

uint64_t Planner::activation_bytes(const Way& way) const {
  const int rows = std::max(asked_.sequences, std::min(way.rows, way.context));
  const uint64_t sorted = way.gpu && way.ring > 0 ? sizes_.sorted_row_bytes : 0;
  return sizes_.activation_fixed_bytes + uint64_t(rows) * (sizes_.activation_row_bytes + sorted);
}

uint64_t Planner::gpu_fixed(const Way& way) const {
  return machine_.gpu_context_bytes + asked_.draft_bytes + activation_bytes(way) + gpu_ring_bytes(way) +
         (way.kv == KvPlace::kGpu ? kv_bytes(way) : 0);
}

// Without the keys and values there, and the ring for the disk.
uint64_t Planner::ram_fixed(const Way& way, bool all_on_gpu) const {
  return program_bytes() + (way.gpu ? 0 : asked_.draft_bytes) +
         (has_cpu_work(way, all_on_gpu) ? activation_bytes(way) : 0);
}

// All but the cut, the rows and how large a ring is, simple ones first.
std::vector<Way> Planner::ways(int context) const {
  std::vector<Way> result;
  if (asked_.gpu_layers <= 0 && asked_.kv_offload != KvOffload::kOn && !asked_.needs_gpu)
    result.push_back({.rows = 0, .context = context});
  if (!machine_.has_gpu) return result;
  for (const KvPlace kv : {KvPlace::kGpu, KvPlace::kWithAttention, KvPlace::kRam}) {
    if (asked_.kv_offload == KvOffload::kOn && kv != KvPlace::kGpu) continue;
    if (asked_.kv_offload == KvOffload::kOff && kv != KvPlace::kRam) continue;
    if (asked_.kv_with_gpu && asked_.kv_offload == KvOffload::kAuto && kv != KvPlace::kGpu) continue;
    for (const BlockOrder order : {BlockOrder::kByLayer, BlockOrder::kHeadFirst, BlockOrder::kAttentionFirst})
      for (const int ring : {0, kRings[0]}) result.push_back({true, ring, order, kv, 0, context});
  }
  return result;
}

// One token half-way through the answer; steps of the prompt, and of a long one.
std::vector<StepKind> Planner::step_kinds(const Way& way, const Machine& machine) const {
  const double depth = std::min<double>(way.context, asked_.prompt_tokens + asked_.answer_tokens / 2.0);
  std::vector<StepKind> kinds(1);
  kinds[0].cpu_attention = cpu_attention_decode(sizes_, machine, depth);
  kinds[0].gpu_attention = way.gpu ? gpu_attention_decode(sizes_, machine, depth) : 0;
  for (const double times : {1.0, kLongPrompt}) {
    const double tokens = times * asked_.prompt_tokens;
    const double steps = std::ceil(tokens / way.rows);
    StepKind kind;
    kind.tokens = tokens / steps;
    kind.head_share = 1 / steps;
    kind.cpu_attention = cpu_attention_prompt(sizes_, machine, tokens) / steps;
    kind.gpu_attention = way.gpu ? gpu_attention_prompt(sizes_, machine, tokens) / steps : 0;
    kinds.push_back(kind);
  }
  return kinds;
}

Line Planner::line_of(const Way& way) const {
  return Line(sizes_, machine_of(way), orders_[size_t(way.order)], way.kv, kv_layer_bytes(way.context), way.ring > 0);
}

// The time of a cut, unless it is no better than the best so far.
void Planner::try_cut(const Way& way, const Tables& tables, int on_gpu, int in_ram) {
  // Long steps are for weights that come for each of them.
  const bool brought = (way.ring > 0 ? on_gpu : in_ram) < tables.line->slices();
  if (asked_.batch_rows == 0 && way.rows > kUsualStep && !brought) return;
  Choice choice;
  choice.way = way;
  choice.on_gpu = on_gpu;
  choice.in_ram = in_ram;
  const auto time = [&](size_t kind, bool attention_comes, double& share) {
    const bool few = tables.kinds[kind].tokens <= kFewTokens;
    const Sharing sharing = way.ring == 0 ? Sharing::kCpu : few ? Sharing::kBoth : Sharing::kLink;
    StepLoad load = tables.line->load(tables.kinds[kind], tables.sums[kind], on_gpu, in_ram, few && attention_comes);
    if (way.ring > 0) {
      load.lead = std::max(1, tables.line->layers_brought(on_gpu)) * ring_lead(machine_, way.ring, gpu_piece_, few);
      if (few) slow_link(load, way.ring);
    }
    return step_time(load, sharing, share);
  };
  choice.decode = time(0, false, choice.decode_cpu);
  if (way.ring > 0) {
    double share = 0;
    const StepTime other = time(0, true, share);
    const double least = std::min(other.total, choice.decode.total);
    choice.attention_comes = is_preferred(other, choice.decode, least);
    if (choice.attention_comes) choice.decode = other, choice.decode_cpu = share;
    choice.decode.total = least;
  }
  choice.seconds = asked_.answer_tokens * choice.decode.total;
  if (choice.seconds >= best_.seconds) return;
  double share = 0;
  choice.prompt_seconds = time(1, choice.attention_comes, choice.prompt_cpu).total / tables.kinds[1].head_share;
  choice.long_prompt_seconds = time(2, choice.attention_comes, share).total / tables.kinds[2].head_share;
  choice.seconds += (1 - kLongPromptShare) * choice.prompt_seconds + kLongPromptShare * choice.long_prompt_seconds;
  if (choice.seconds < best_.seconds) best_ = choice;
}

// How many slices may be on the GPU, at least and at most; none if what must be there does not fit.
std::optional<std::pair<int, int>> Planner::gpu_slices(const Way& way, const Line& line) const {
  if (!way.gpu) return std::pair(0, 0);
  if (gpu_fixed(way) > gpu_budget_) return std::nullopt;
  const int most = line.most_on_gpu(gpu_budget_ - gpu_fixed(way));
  if (asked_.gpu_layers < 0) return std::pair(0, most);
  int asked = 0;
  while (asked < line.slices() && asked_blocks_[size_t(line.block_of(asked))]) ++asked;
  if (asked > most) return std::nullopt;
  return std::pair(asked, asked);
}

void Planner::try_way(Way way) {
  const Line line = line_of(way);
  std::vector<Line::Sums> decode_sums;
  const std::span<const int> rings = way.ring > 0 ? std::span<const int>(kRings) : std::span<const int>(kNone);
  for (const int rows : {asked_.batch_rows > 0 ? asked_.batch_rows : kUsualStep, 4 * kUsualStep}) {
    if (rows == way.rows || (asked_.batch_rows > 0 && way.rows > 0)) continue;
    way.rows = rows;
    way.ring = rings.front();
    if (!gpu_slices(way, line)) continue;
    Tables tables;
    tables.line = &line;
    tables.kinds = step_kinds(way, machine_of(way));
    for (const StepKind& kind : tables.kinds)
      tables.sums.push_back(tables.sums.empty() && !decode_sums.empty() ? std::move(decode_sums) : line.sums(kind));
    for (const int ring : rings) {
      way.ring = ring;
      const auto range = gpu_slices(way, line);
      if (!range) break;
      try_cuts(way, tables, range->first, range->second);
    }
    decode_sums = std::move(tables.sums[0]);
  }
}

void Planner::try_cuts(const Way& way, const Tables& tables, int least, int most) {
  const Line& line = *tables.line;
  const auto try_one = [&](int on_gpu) {
    const uint64_t needed = ram_fixed(way, on_gpu == line.slices()) + line.kv_in_ram(on_gpu);
    if (needed > ram_budget_) return;
    int in_ram = line.slices();
    if (line.ram_bytes(on_gpu, in_ram) > ram_budget_ - needed) {
      // A GPU gets what is on disk through its ring.
      if (asked_.no_disk || (way.gpu && way.ring == 0) || needed + disk_ring_ > ram_budget_) return;
      in_ram = line.most_in_ram(on_gpu, ram_budget_ - needed - disk_ring_);
    }
    try_cut(way, tables, on_gpu, in_ram);
  };
  const double before = best_.seconds;
  const int stride = std::max(1, line.slices() / kSteps);
  for (int on_gpu = least; on_gpu < most; on_gpu += stride) try_one(on_gpu);
  try_one(most);
  if (best_.seconds == before) return;
  const int center = best_.on_gpu;
  for (int on_gpu = std::max(least, center - stride + 1), end = std::min(most, center + stride - 1); on_gpu <= end;
       ++on_gpu)
    if (on_gpu != center) try_one(on_gpu);
}

Result<Plan> Planner::run() {
  METALLIC_TRY(check());
  if (!search()) return nothing_fits();
  return plan_of(best_);
}

bool Planner::search() {
  asked_blocks_ = asked_blocks(sizes_, asked_.gpu_layers);
  for (const BlockOrder order : {BlockOrder::kByLayer, BlockOrder::kHeadFirst, BlockOrder::kAttentionFirst})
    orders_[size_t(order)] = ordered_blocks(sizes_, order, asked_blocks_);
  for (int context = longest_context_;; context /= 2) {
    for (const Way& way : ways(context)) try_way(way);
    if (best_.seconds < std::numeric_limits<double>::infinity()) return true;
    if (asked_.context > 0 || context / 2 < kLeastContext) return false;
  }
}

int Planner::most_layers() const {
  Constraints fewer = asked_;
  while (--fewer.gpu_layers >= 0)
    if (Planner(sizes_, machine_, fewer).search()) break;
  return fewer.gpu_layers;
}

Placement Planner::place_block(const Choice& choice, const Block& block, int gpu_slices, bool disk) const {
  Placement place;
  place.gpu = float(gpu_slices) / float(block.slices);
  const float rest = 1 - place.gpu;
  place.disk = disk;
  place.decode_cpu = float(choice.decode_cpu) * rest;
  place.prompt_cpu = float(choice.prompt_cpu) * rest;
  const bool to_gpu = disk && choice.way.gpu;  // any link is faster than a disk
  const bool comes = choice.attention_comes && block.kind == BlockKind::kAttention;
  if (block.kind == BlockKind::kEmbedding || (disk && block.kind == BlockKind::kExpert)) {
    place.decode_cpu = place.prompt_cpu = rest;
  } else if (to_gpu) {
    place.decode_cpu = place.prompt_cpu = 0;
  } else if (choice.way.ring > 0 && rest > 0) {
    const auto share = [&](int tokens, float usual) {
      if (block_time(block, machine_, tokens).ahead) return usual;
      return copies_on_demand(tokens, true) ? 0.0f : rest;
    };
    place.decode_cpu = comes ? 0 : share(1, place.decode_cpu);
    place.prompt_cpu = comes ? 0 : share(std::min(asked_.prompt_tokens, choice.way.rows), place.prompt_cpu);
  }
  place.place = rest == 0                                 ? Place::kGpu
                : disk                                    ? Place::kDisk
                : place.decode_cpu == 1                   ? Place::kCpu
                : place.decode_cpu == 0 && place.gpu == 0 ? Place::kStreamed
                                                          : Place::kSplit;
  const bool streamed = place.decode_cpu < rest || place.prompt_cpu < rest;
  place.reason = block.kind == BlockKind::kEmbedding && rest > 0 ? Reason::kLookup
                 : rest == 0       ? asked_.gpu_layers >= 0 ? Reason::kAsked : Reason::kFastest
                 : disk            ? Reason::kRamFull
                 : !choice.way.gpu ? machine_.has_gpu ? Reason::kGpuSlower : Reason::kNoGpu
                 : block.use < 1   ? Reason::kSeldomUsed
                 : comes           ? Reason::kNoHandOver
                 : streamed        ? Reason::kLinkHelps
                                   : Reason::kGpuFull;
  if (place.reason == Reason::kGpuSlower &&
      gpu_fixed({.gpu = true, .rows = choice.way.rows, .context = choice.way.context}) > gpu_budget_)
    place.reason = Reason::kGpuFull;
  return place;
}

Plan Planner::plan_of(const Choice& choice) const {
  const Way& way = choice.way;
  const Line line = line_of(way);
  Plan plan;
  plan.context = way.context;
  plan.batch_rows = way.rows;
  plan.sequences = asked_.sequences;
  plan.context_shrunk = way.context < longest_context_;
  std::vector<int> gpu_slices(sizes_.blocks.size(), 0);
  std::vector<bool> on_disk(sizes_.blocks.size(), false);
  for (int i = 0; i < line.slices(); ++i) {
    const size_t block = size_t(line.block_of(i));
    if (i < choice.on_gpu) ++gpu_slices[block];
    if (i >= choice.in_ram) on_disk[block] = true;
  }
  for (size_t i = 0; i < sizes_.blocks.size(); ++i)
    plan.places.push_back(place_block(choice, sizes_.blocks[i], gpu_slices[i], on_disk[i]));
  plan.kv_on_gpu = line.kv_on_gpu(choice.on_gpu);

  const bool all_on_gpu = choice.on_gpu == line.slices();
  const uint64_t kv_layers = uint64_t(std::count(plan.kv_on_gpu.begin(), plan.kv_on_gpu.end(), true));
  const uint64_t kv_layer = kv_layer_bytes(way.context);
  plan.gpu.budget = gpu_budget_;
  if (way.gpu) {
    plan.gpu.kv = kv_layer * kv_layers;
    plan.gpu.weights = line.gpu_bytes(choice.on_gpu) - (way.kv == KvPlace::kWithAttention ? plan.gpu.kv : 0);
    plan.gpu.activations = activation_bytes(way);
    plan.gpu.context = machine_.gpu_context_bytes;
    plan.gpu.draft = asked_.draft_bytes;
    if (way.ring > 0) plan.gpu_piece_bytes = gpu_piece_, plan.gpu.ring = plan.gpu_ring_bytes = gpu_ring_bytes(way);
  }
  plan.ram.budget = ram_budget_;
  plan.ram.weights = line.ram_bytes(choice.on_gpu, choice.in_ram);
  plan.ram.kv = line.kv_in_ram(choice.on_gpu);
  plan.ram.activations = has_cpu_work(way, all_on_gpu) ? activation_bytes(way) : 0;
  plan.ram.context = program_bytes();
  plan.ram.draft = way.gpu ? 0 : asked_.draft_bytes;
  if (choice.in_ram < line.slices()) plan.ram.ring = plan.disk_ring_bytes = disk_ring_;
  plan.disk_piece_bytes = plan.disk_ring_bytes / kDiskPieces;

  plan.decode = choice.decode;
  plan.prompt_seconds = choice.prompt_seconds;
  plan.long_prompt_seconds = choice.long_prompt_seconds;
  plan.prompt_tokens = asked_.prompt_tokens;
  plan.request_seconds = choice.seconds;
  return plan;
}

tl::unexpected<Error> Planner::nothing_fits() const {
  int context = longest_context_;
  while (asked_.context == 0 && context / 2 >= kLeastContext) context /= 2;
  const Way way{.rows = asked_.batch_rows > 0 ? asked_.batch_rows : kUsualStep, .context = context};
  if (const int layers = most_layers(); layers >= 0)
    return fail(ErrorCode::kOutOfMemory,
                "{} layers on the GPU (-ngl) do not fit into {:.2f} GB of its memory, {} would; without -ngl metallic "
                "chooses",
                asked_.gpu_layers, gigabytes(gpu_budget_), layers);
  if (asked_.kv_offload == KvOffload::kOn && kv_bytes(way) + machine_.gpu_context_bytes > gpu_budget_)
    return fail(
        ErrorCode::kOutOfMemory,
        "the KV cache for {} tokens takes {:.2f} GB, but the GPU has {:.2f} GB to give; ask for a shorter context "
        "(-c), a smaller type of cache (-ctk, -ctv) or --kv-offload auto",
        int64_t(context) * asked_.sequences, gigabytes(kv_bytes(way)), gigabytes(gpu_budget_));
  if (asked_.needs_gpu && gpu_fixed({.gpu = true, .rows = way.rows, .context = context}) > gpu_budget_)
    return fail(
        ErrorCode::kOutOfMemory,
        "the GPU has {:.2f} GB to give, and without any weights metallic needs {:.2f} GB of it (activations for "
        "{} tokens {:.2f} GB); ask for a smaller batch (-b), or compute on the CPU (--device cpu)",
        gigabytes(gpu_budget_), gigabytes(gpu_fixed({.gpu = true, .rows = way.rows, .context = context})), way.rows,
        gigabytes(activation_bytes(way)));
  uint64_t weights = 0;
  for (const Block& block : sizes_.blocks) weights += block.cpu_bytes;
  const uint64_t others = ram_fixed(way, false) + kv_bytes(way);
  const uint64_t needed = others + (asked_.no_disk ? weights : std::min(weights, disk_ring_));
  return fail(
      ErrorCode::kOutOfMemory,
      "the model does not fit into {:.2f} GB of RAM and {:.2f} GB of GPU memory: in RAM alone it needs {:.2f} GB "
      "({} {:.2f} GB, KV cache for {} tokens {:.2f} GB, activations {:.2f} GB, the rest {:.2f} GB); ask for a "
      "shorter context (-c), a smaller batch (-b), a smaller type of cache (-ctk, -ctv){}",
      gigabytes(ram_budget_), gigabytes(gpu_budget_), gigabytes(needed),
      asked_.no_disk ? "weights" : "buffers for reading weights", gigabytes(needed - others),
      int64_t(context) * asked_.sequences, gigabytes(kv_bytes(way)), gigabytes(activation_bytes(way)),
      gigabytes(program_bytes() + asked_.draft_bytes),
      asked_.no_disk ? ", or let weights be read from disk" : ", or give more memory (--ram)");
}

}  // namespace

uint64_t program_bytes() { return uint64_t{48} << 20; }

uint64_t default_budget(uint64_t free_bytes) {
  const uint64_t margin = std::clamp<uint64_t>(free_bytes / 32, uint64_t{64} << 20, uint64_t{1} << 30);
  return free_bytes - std::min(free_bytes / 2, margin);
}

// Reads begin and end at whole sectors.
uint64_t disk_ring_bytes(const ModelSizes& sizes) {
  return kDiskPieces * (aligned(largest_slice(sizes, &Block::file_bytes), 4096) + 8192);
}

Result<Plan> make_plan(const ModelSizes& sizes, const Machine& machine, const Constraints& constraints) {
  return Planner(sizes, machine, constraints).run();
}

}  // namespace metallic
