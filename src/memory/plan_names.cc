// The words for what a plan holds.
#include <algorithm>

#include "memory/plan.h"

namespace metallic {

const char* block_kind_name(BlockKind kind) {
  switch (kind) {
    case BlockKind::kAttention:
      return "attention";
    case BlockKind::kFeedForward:
      return "feed-forward";
    case BlockKind::kExpert:
      return "expert";
    case BlockKind::kEmbedding:
      return "embedding";
    case BlockKind::kHead:
      return "head";
  }
  return "unknown";
}

const char* place_name(Place place) {
  switch (place) {
    case Place::kGpu:
      return "GPU";
    case Place::kCpu:
      return "RAM";
    case Place::kSplit:
      return "split";
    case Place::kStreamed:
      return "streamed";
    case Place::kDisk:
      return "disk";
  }
  return "unknown";
}

const char* reason_text(Reason reason) {
  switch (reason) {
    case Reason::kFastest:
      return "is read fastest there";
    case Reason::kNoGpu:
      return "there is no GPU to use";
    case Reason::kGpuFull:
      return "the GPU's memory is used up";
    case Reason::kGpuSlower:
      return "the GPU would not be faster";
    case Reason::kLinkHelps:
      return "the GPU's memory is used up; the link brings what the CPU has no time for";
    case Reason::kNoHandOver:
      return "the GPU's memory is used up; copying all of it takes less than handing it over to the CPU";
    case Reason::kRamFull:
      return "GPU and RAM are used up";
    case Reason::kLookup:
      return "only one row a token is read";
    case Reason::kSeldomUsed:
      return "few tokens use it; others are worth more room";
    case Reason::kAsked:
      return "asked for";
  }
  return "unknown";
}

bool all_stay(const Plan& plan) {
  return std::all_of(plan.places.begin(), plan.places.end(), [&](const Placement& placement) {
    return placement.place == (plan.uses_gpu() ? Place::kGpu : Place::kCpu);
  });
}

bool kv_beside_gpu(const Plan& plan) {
  return plan.uses_gpu() && !plan.kv_on_gpu.empty() &&
         std::none_of(plan.kv_on_gpu.begin(), plan.kv_on_gpu.end(), [](bool on_gpu) { return on_gpu; });
}

bool reads_disk(const Plan& plan) {
  return std::any_of(plan.places.begin(), plan.places.end(),
                     [](const Placement& placement) { return placement.place == Place::kDisk; });
}

}  // namespace metallic
