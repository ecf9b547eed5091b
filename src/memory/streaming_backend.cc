// A host backend whose weights are partly read from disk while it computes: every operation goes to the backend behind;
// those with weights that come and go wait for them first, piece by piece.
#include <algorithm>
#include <optional>
#include <vector>

#include "backend/forwarding_backend.h"
#include "backend/host_experts.h"
#include "backend/strided.h"
#include "base/check.h"
#include "base/error.h"
#include "memory/residency.h"
#include "memory/row_lookup.h"

namespace metallic {
namespace {

class StreamingBackend final : public ForwardingBackend {
 public:
  StreamingBackend(std::shared_ptr<Backend> inner, std::shared_ptr<Residency> residency)
      : ForwardingBackend(std::move(inner)), residency_(std::move(residency)) {}

  Status synchronize() override;
  void embed(const EmbedOp& op) override;
  void linear(const LinearOp& op) override;
  void experts(const ExpertsOp& op) override;

 private:
  void multiply_pieces(const TensorView& x, const LinearTarget& target);
  void multiply_expert(const TensorView& x, const LinearTarget& target, int piece);
  void fetch_experts(const ExpertsOp& op);

  std::shared_ptr<Residency> residency_;
  std::optional<Error> failure_;  // the first since synchronize(): until then nothing with weights is computed
  RowLookup lookup_;
  std::vector<LinearTarget> targets_;
  std::vector<int> pieces_;
  std::vector<float> expert_rows_, expert_results_;
};

Status StreamingBackend::synchronize() {
  const Status status = inner_->synchronize();
  if (!failure_) return status;
  const Error failure = std::move(*failure_);
  failure_.reset();
  return tl::unexpected<Error>(failure);
}

void StreamingBackend::linear(const LinearOp& op) {
  if (failure_) return;
  const auto stays = [](const LinearTarget& target) { return !is_streamed(*target.weight); };
  if (std::all_of(op.targets.begin(), op.targets.end(), stays)) return inner_->linear(op);
  std::vector<LinearTarget>& resident = targets_;
  resident.clear();
  std::copy_if(op.targets.begin(), op.targets.end(), std::back_inserter(resident), stays);
  if (!resident.empty()) inner_->linear({op.x, resident});
  for (const LinearTarget& target : op.targets)
    if (!stays(target)) multiply_pieces(op.x, target);
}

// out[:, rows of the piece] for each piece as it comes.
void StreamingBackend::multiply_pieces(const TensorView& x, const LinearTarget& target) {
  const StreamedMatrix& matrix = streamed_matrix(*target.weight);
  if (matrix.is_expert) return multiply_expert(x, target, matrix.expert_piece);
  if (const Status stop = residency_->check_stop(); !stop) {
    failure_ = stop.error();
    return;
  }
  DiskRing* ring = residency_->disk_ring();
  METALLIC_CHECK(ring != nullptr && matrix.first_piece >= 0);
  const int64_t rows = target.weight->rows();
  for (int64_t row = 0, piece = matrix.first_piece; row < rows && !failure_; row += matrix.piece_rows, ++piece) {
    auto bytes = ring->acquire(int(piece));
    if (!bytes) {
      failure_ = bytes.error();
      return;
    }
    const int64_t count = std::min(matrix.piece_rows, rows - row);
    Weight part;  // only read
    part.view = TensorView::dense(const_cast<std::byte*>(*bytes), target.weight->view.format,
                                  {count, target.weight->columns()});
    LinearTarget part_target = target;
    part_target.weight = &part;
    if (target.bias != nullptr) part_target.bias += row;
    part_target.out.data = float_at(target.out, 0) + row;
    part_target.out.shape.size[1] = count;
    inner_->linear({x, {&part_target, 1}});
    ring->release(int(piece));
  }
}

void StreamingBackend::multiply_expert(const TensorView& x, const LinearTarget& target, int piece) {
  const auto bytes = residency_->experts()->bring(piece);
  if (!bytes) {
    failure_ = bytes.error();
    return;
  }
  Weight weight;  // only read
  weight.view = target.weight->view;
  weight.view.data = const_cast<std::byte*>(*bytes);
  LinearTarget whole = target;
  whole.weight = &weight;
  inner_->linear({x, {&whole, 1}});
}

// All that the rows use, in the order of their use.
void StreamingBackend::fetch_experts(const ExpertsOp& op) {
  pieces_.clear();
  for (int64_t pair = 0; pair < int64_t(op.rows) * op.used; ++pair) {
    const Weight& weight = op.experts[size_t(op.ids[pair])];
    if (is_streamed(weight)) pieces_.push_back(streamed_matrix(weight).expert_piece);
  }
  std::sort(pieces_.begin(), pieces_.end());
  pieces_.erase(std::unique(pieces_.begin(), pieces_.end()), pieces_.end());
  if (const Status status = residency_->experts()->expect(pieces_); !status) failure_ = status.error();
}

void StreamingBackend::experts(const ExpertsOp& op) {
  if (failure_) return;
  if (ExpertUse* use = residency_->use()) use->count(op.experts, {op.ids, size_t(op.rows) * size_t(op.used)});
  const auto stays = [](const Weight& weight) { return !is_streamed(weight); };
  if (std::all_of(op.experts.begin(), op.experts.end(), stays)) return inner_->experts(op);
  if (const Status stop = residency_->check_stop(); !stop) {
    failure_ = stop.error();
    return;
  }
  fetch_experts(op);
  experts_by_linear(op, expert_rows_, expert_results_, [this](const LinearOp& linear_op) { linear(linear_op); });
}

void StreamingBackend::embed(const EmbedOp& op) {
  if (failure_) return;
  if (!is_streamed(*op.weight)) return inner_->embed(op);
  const Result<EmbedOp> rows = lookup_.in_host_memory(*residency_, op);
  if (rows)
    inner_->embed(*rows);
  else
    failure_ = rows.error();
}

}  // namespace

std::shared_ptr<Backend> make_streaming_backend(std::shared_ptr<Backend> inner, std::shared_ptr<Residency> residency) {
  if (residency->on_device()) return make_device_streaming_backend(std::move(inner), std::move(residency));
  return std::make_shared<StreamingBackend>(std::move(inner), std::move(residency));
}

}  // namespace metallic
