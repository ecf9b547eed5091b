// A device whose weights are partly in host memory: they come through the ring ahead of their use, and where few tokens
// are to be multiplied, the host multiplies by some of the rows while the others come. What spans both is a backend, so
// no model knows.
#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "backend/forwarding_backend.h"
#include "backend/strided.h"
#include "base/check.h"
#include "memory/device_experts.h"
#include "memory/host_worker.h"
#include "memory/residency.h"
#include "memory/row_lookup.h"

namespace metallic {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kRowsAtOnce = 256;  // of an embedding

class DeviceStreamingBackend final : public ForwardingBackend {
 public:
  DeviceStreamingBackend(std::shared_ptr<Backend> inner, std::shared_ptr<Residency> residency)
      : ForwardingBackend(std::move(inner)),
        transfers_(*find_transfers(*inner_)),
        residency_(std::move(residency)),
        worker_(transfers_),
        experts_(*inner_, transfers_, worker_, *residency_, [this](const LinearOp& op) { multiply(op); }) {}

  // The device outlives it.
  ~DeviceStreamingBackend() override {
    defer(false);
    worker_.settle();  // it works for all that goes now
  }

  void copy_to_host(void* to, const void* from, uint64_t bytes) override;
  Status synchronize() override;
  void route(const RouteOp& op) override;
  void experts(const ExpertsOp& op) override;
  void expert_network(const ExpertNetworkOp& op) override;
  void embed(const EmbedOp& op) override;
  void linear(const LinearOp& op) override;

 private:
  using Slice = StreamedMatrix::Slice;
  // Whether the host multiplies by it in this step.
  bool is_of_host(const Slice& slice) const {
    return slice.host.rows() > 0 && (slice.ring < 0 || !residency_->device_ring()->comes(slice.ring));
  }
  void look_at_outputs(const LinearOp& op);
  void defer(bool deferred);
  void multiply(const LinearOp& op);
  void multiply_on_device(const LinearOp& op);
  bool collect_host_parts(const LinearOp& op);
  std::function<void()> host_product(const TensorView& x) const;
  const Weight* acquire(int number, const TensorView& x);
  void issue(const TensorView& x);
  float* pinned(PinnedFloats& memory, uint64_t floats);
  void keep(const Error& failure) {
    if (!failure_) failure_ = failure;
  }

  Transfers& transfers_;
  std::shared_ptr<Residency> residency_;
  std::optional<Error> failure_;     // the first since synchronize()
  bool few_ = false;                 // tokens in this step
  bool many_outputs_ = false;        // in the long step before
  bool deferred_ = false;            // marks and copies of the ring
  std::vector<LinearTarget> parts_;  // of one operation, whose weights are at their places
  std::vector<LinearTarget> host_parts_;
  std::vector<RowCopy> host_results_;  // back to the device
  RowLookup lookup_;
  PinnedFloats x_memory_, out_memory_;
  HostBiases biases_;
  HostWorker worker_;
  DeviceExperts experts_;
};

void DeviceStreamingBackend::copy_to_host(void* to, const void* from, uint64_t bytes) {
  worker_.rest();
  inner_->copy_to_host(to, from, bytes);
}

Status DeviceStreamingBackend::synchronize() {
  worker_.rest();
  const Status status = inner_->synchronize();
  worker_.finish();
  if (worker_.take_dropped() && status)
    keep({ErrorCode::kDevice, "the GPU has ended a step without asking for all that the processor was to do"});
  if (const Status experts = experts_.take_failure(); !experts) keep(experts.error());
  if (!failure_) return status;
  if (DeviceRing* ring = residency_->device_ring()) ring->release_all();
  const Error failure = std::move(*failure_);
  failure_.reset();
  return tl::unexpected<Error>(failure);
}

// Null after a failure.
float* DeviceStreamingBackend::pinned(PinnedFloats& memory, uint64_t floats) {
  const auto values = memory.get(transfers_, worker_, floats);
  if (values) return *values;
  keep(values.error());
  return nullptr;
}

void DeviceStreamingBackend::route(const RouteOp& op) {
  experts_.forget_choice();
  inner_->route(op);
}

void DeviceStreamingBackend::experts(const ExpertsOp& op) {
  if (failure_) return;
  if (std::none_of(op.experts.begin(), op.experts.end(), is_streamed)) return inner_->experts(op);
  if (const Status stop = residency_->check_stop(); !stop) return keep(stop.error());
  worker_.settle();
  defer(false);  // while the host looks at the choice of the next layer, copies are to go on
  if (const Status status = experts_.run(op, few_); !status) keep(status.error());
}

void DeviceStreamingBackend::expert_network(const ExpertNetworkOp& op) {
  if (failure_) return;
  if (!few_ || std::none_of(op.up.experts.begin(), op.up.experts.end(), is_streamed))
    return ForwardingBackend::expert_network(op);
  if (const Status stop = residency_->check_stop(); !stop) return keep(stop.error());
  const Result<bool> done = experts_.run_network(op);
  if (!done) return keep(done.error());
  if (!*done) ForwardingBackend::expert_network(op);
}

// Looked up on the host, which has the embedding.
void DeviceStreamingBackend::embed(const EmbedOp& op) {
  if (failure_) return;
  few_ = int64_t(op.ids.size()) <= kFewTokens;
  defer(false);
  if (residency_->device_ring())
    residency_->device_ring()->choose_order(few_            ? RingOrder::kFew
                                            : many_outputs_ ? RingOrder::kAll
                                                            : RingOrder::kLong);
  if (!is_streamed(*op.weight)) return inner_->embed(op);
  // What was copied from there before must have arrived.
  const Status status = inner_->synchronize();
  worker_.finish();
  if (!status) return keep(status.error());
  const int64_t count = int64_t(op.ids.size()), columns = op.weight->columns();
  float* values = pinned(out_memory_, uint64_t(count * columns));
  if (values == nullptr) return;
  for (int64_t first = 0; first < count; first += kRowsAtOnce) {  // some on their way while others are looked up
    const int64_t rows = std::min(kRowsAtOnce, count - first);
    float* const out = values + first * columns;
    const Result<EmbedOp> part =
        lookup_.in_host_memory(*residency_, {op.weight, op.ids.subspan(size_t(first), size_t(rows)), op.scale,
                                             TensorView::dense(out, Format::kF32, {rows, columns})});
    if (!part) return keep(part.error());
    residency_->host()->embed(*part);
    transfers_.copy_rows({out, float_at(op.out, first), columns * kFloat, op.out.stride[0], columns * kFloat, rows});
  }
}

void DeviceStreamingBackend::defer(bool deferred) {
  if (std::exchange(deferred_, deferred) != deferred) transfers_.defer(deferred);
}

// A long step goes to the device as one list: products by slices are planned with what stands around them.
void DeviceStreamingBackend::linear(const LinearOp& op) {
  if (!failure_ && !few_) defer(true);
  multiply(op);
}

void DeviceStreamingBackend::multiply(const LinearOp& op) {
  if (failure_) return;
  DeviceRing* ring = residency_->device_ring();
  if (ring) ring->release_all();
  const auto stays = [](const LinearTarget& target) { return !is_streamed(*target.weight); };
  if (std::all_of(op.targets.begin(), op.targets.end(), stays)) return inner_->linear(op);
  if (const Status stop = residency_->check_stop(); !stop) return keep(stop.error());
  if (!few_) look_at_outputs(op);
  bool with_host = false;
  for (const LinearTarget& target : op.targets)
    if (!stays(target))
      for (const Slice& slice : streamed_matrix(*target.weight).slices) with_host |= is_of_host(slice);
  if (!with_host) return multiply_on_device(op);
  // x first: what the device does meanwhile comes behind it.
  const int64_t rows = op.x.shape[0], columns = op.x.shape[1];
  float* x = pinned(x_memory_, uint64_t(rows * columns));
  if (x == nullptr || !collect_host_parts(op)) return;
  transfers_.copy_rows({op.x.data, x, op.x.stride[0], columns * kFloat, columns * kFloat, rows});
  const uint64_t number = transfers_.ask();
  worker_.add(number, host_product(TensorView::dense(x, Format::kF32, {rows, columns})));
  multiply_on_device(op);
  if (ring) ring->release_all();  // copies go on while the host multiplies
  transfers_.wait_for_answer(number);
  transfers_.copy_rows(host_results_);
}

// Few rows of a long step reach the head as a rule, and the host has its share of those; of many, as when a text is
// judged, the ring brings all. The next step is expected to be like this one.
void DeviceStreamingBackend::look_at_outputs(const LinearOp& op) {
  for (const LinearTarget& target : op.targets) {
    if (!is_streamed(*target.weight) || !streamed_matrix(*target.weight).is_head) continue;
    many_outputs_ = op.x.shape[0] > kFewTokens;
    if (!many_outputs_) continue;
    DeviceRing* ring = residency_->device_ring();
    const auto& slices = streamed_matrix(*target.weight).slices;
    const auto left_out = [&](const Slice& slice) { return slice.ring >= 0 && !ring->comes(slice.ring); };
    if (std::none_of(slices.begin(), slices.end(), left_out)) continue;
    const auto first = std::find_if(slices.begin(), slices.end(), [](const Slice& slice) { return slice.ring >= 0; });
    ring->choose_order(RingOrder::kAll, first->ring);
  }
}

// All slices but those that the host takes.
void DeviceStreamingBackend::multiply_on_device(const LinearOp& op) {
  parts_.clear();
  const bool one_by_one = deferred_ && transfers_.decodes_first(op.x.shape[0]);
  for (const LinearTarget& target : op.targets) {
    if (!is_streamed(*target.weight)) {
      parts_.push_back(target);
      continue;
    }
    for (const Slice& slice : streamed_matrix(*target.weight).slices) {
      if (is_of_host(slice)) continue;
      const Weight* weight = &slice.resident;
      if (slice.ring >= 0) {
        weight = acquire(slice.ring, op.x);
        if (weight == nullptr) return parts_.clear();
      }
      LinearTarget part = target;
      part.weight = weight;
      if (target.bias != nullptr) part.bias += slice.first;
      part.out.data = float_at(target.out, 0) + slice.first;
      part.out.shape.size[1] = slice.rows;
      parts_.push_back(part);
      if (slice.ring >= 0 && one_by_one) {
        issue(op.x);
        residency_->device_ring()->release_all();
      }
    }
  }
  issue(op.x);
  if (deferred_ && residency_->device_ring()) residency_->device_ring()->release_all();  // as soon as it is decoded
}

// Null after a failure.
const Weight* DeviceStreamingBackend::acquire(int number, const TensorView& x) {
  DeviceRing& ring = *residency_->device_ring();
  auto weight = ring.acquire(number);
  if (weight && *weight == nullptr) {  // room only after what came before
    issue(x);
    ring.release_all();
    weight = ring.acquire(number);
    METALLIC_CHECK(!weight || *weight != nullptr);
  }
  if (weight) return *weight;
  keep(weight.error());
  return nullptr;
}

void DeviceStreamingBackend::issue(const TensorView& x) {
  if (!parts_.empty()) inner_->linear({x, parts_});
  parts_.clear();
}

// What the host multiplies by, with its results in pinned memory; what is to be added to is on its way there.
bool DeviceStreamingBackend::collect_host_parts(const LinearOp& op) {
  const int64_t tokens = op.x.shape[0];
  int64_t width = 0;
  for (const LinearTarget& target : op.targets)
    if (is_streamed(*target.weight))
      for (const Slice& slice : streamed_matrix(*target.weight).slices) width += is_of_host(slice) ? slice.rows : 0;
  float* out = pinned(out_memory_, uint64_t(tokens * width));
  if (out == nullptr) return false;
  host_parts_.clear();
  host_results_.clear();
  for (const LinearTarget& target : op.targets) {
    if (!is_streamed(*target.weight)) continue;
    for (const Slice& slice : streamed_matrix(*target.weight).slices) {
      if (!is_of_host(slice)) continue;
      LinearTarget part = target;
      part.weight = &slice.host;
      if (target.bias != nullptr) part.bias = biases_.get(*inner_, target.bias, target.weight->rows()) + slice.first;
      part.out = TensorView::dense(out, Format::kF32, {tokens, slice.rows});
      float* const on_device = float_at(target.out, 0) + slice.first;
      const int64_t stride = target.out.stride[0], bytes = slice.rows * kFloat;
      if (target.accumulate) transfers_.copy_rows({on_device, out, stride, bytes, bytes, tokens});
      host_results_.push_back({out, on_device, bytes, stride, bytes, tokens});
      host_parts_.push_back(part);
      out += tokens * slice.rows;
    }
  }
  return true;
}

std::function<void()> DeviceStreamingBackend::host_product(const TensorView& x) const {
  return [host = residency_->host(), x, parts = host_parts_] {
    constexpr size_t kTargets = 8;  // that the host takes at once
    for (size_t first = 0; first < parts.size(); first += kTargets)
      host->linear({x, std::span(parts).subspan(first, std::min(kTargets, parts.size() - first))});
  };
}

}  // namespace

std::shared_ptr<Backend> make_device_streaming_backend(std::shared_ptr<Backend> inner,
                                                       std::shared_ptr<Residency> residency) {
  return std::make_shared<DeviceStreamingBackend>(std::move(inner), std::move(residency));
}

}  // namespace metallic
