// sample(): the head, and then the choice in the same list of commands, so that nothing of the logits leaves the GPU.
#include <algorithm>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "base/check.h"
#include "base/checked_math.h"

namespace metallic::cuda {
namespace {

constexpr int32_t kChangeStep = 64;  // their number is rounded up, so that commands seldom change

// How a row of `width` numbers is cut into at most kMostSampleGroups groups.
void cut_rows(SampleArgs& args, int32_t width) {
  constexpr int32_t kOfLane = 4, kMostLanes = 32;
  args.width = width;
  args.lanes = 1;
  while (args.lanes < kMostLanes && int64_t(args.lanes) * kOfLane * kMostSampleGroups < width) args.lanes *= 2;
  const int32_t step = args.lanes * kOfLane;
  const int64_t steps = (int64_t(width) + int64_t(step) * kMostSampleGroups - 1) / (int64_t(step) * kMostSampleGroups);
  args.group = int32_t(step * std::max<int64_t>(steps, 1));
  args.groups = (width + args.group - 1) / args.group;
}

uint64_t padded(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

bool CudaBackend::can_sample(const SampleRow& row) const { return !row.on_host && row.top_k <= kMostSampleTopK; }

bool CudaBackend::reserve_sampling(SampleArgs& args, size_t changes) {
  const uint64_t groups = uint64_t(args.rows) * uint64_t(args.groups);
  const uint64_t maxima = padded(groups * sizeof(uint64_t)), sums = padded(groups * sizeof(double));
  const uint64_t wanted = maxima + sums + padded(changes * sizeof(float));
  if (wanted > sampling_bytes_) {
    sampling_.reset();
    sampling_bytes_ = 0;
    auto memory = allocate_shared(queue_, wanted, "sampling");
    if (!memory) {
      queue_->stream().keep(memory.error());
      return false;
    }
    sampling_ = std::move(*memory);
    sampling_bytes_ = wanted;
  }
  char* at = static_cast<char*>(sampling_.get());
  args.maxima = reinterpret_cast<uint64_t*>(at);
  args.sums = reinterpret_cast<double*>(at + maxima);
  args.originals = reinterpret_cast<float*>(at + maxima + sums);
  return true;
}

void CudaBackend::sample(const SampleOp& op) {
  METALLIC_CHECK(op.logits.shape[0] == int64_t(op.rows.size()));
  if (op.head != nullptr) {
    linear({op.x, {op.head, 1}});
    if (op.scale != 1.0f || op.softcap > 0) scale(op.logits, op.scale, op.softcap);
  }
  Command command(CommandKind::kSample);
  SampleArgs& args = command.sample;
  std::vector<SampleChoice> choices;
  std::vector<LogitChange> changes;
  for (const SampleRow& row : op.rows) {
    const bool here = can_sample(row);
    SampleChoice& choice = choices.emplace_back();
    choice = {int32_t(changes.size()),
              here ? int32_t(row.changes.size()) : 0,
              row.repeat,
              row.frequency,
              row.presence,
              row.top_k,
              row.top_p,
              row.log_min_p,
              row.temperature,
              !here,
              row.unit};
    if (!here) continue;
    changes.insert(changes.end(), row.changes.begin(), row.changes.end());
    args.has_sums |= int32_t(row.temperature > 0 && row.top_k == 0);
  }
  args.has_changes = !changes.empty();
  changes.resize((changes.size() + kChangeStep - 1) / kChangeStep * kChangeStep);
  args.rows = int32_t(op.rows.size());
  args.logits = {static_cast<float*>(op.logits.data), op.logits.stride[0] / int64_t(sizeof(float))};
  cut_rows(args, int32_t(op.logits.shape[1]));
  args.ids = op.ids;
  chosen_ = op.ids;
  if (args.rows == 0 || args.width == 0 || !reserve_sampling(args, changes.size())) return;
  queue_->reserve(choices.size() * sizeof(SampleChoice) + changes.size() * sizeof(LogitChange) + 32);
  args.choices = queue_->stage(std::span<const SampleChoice>(choices));
  args.changes = queue_->stage(std::span<const LogitChange>(changes));
  queue_->add(command);
}

void CudaBackend::fetch(const int32_t* from, int count) {
  queue_->flush();
  fetches_.start(from, count, queue_->stream());
}

Status CudaBackend::fetched(std::span<int32_t> to) {
  fetches_.finish(to, queue_->stream());
  return queue_->stream().failed() ? queue_->stream().synchronize("computing") : Status();
}

}  // namespace metallic::cuda
