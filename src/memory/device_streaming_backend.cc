// A device whose weights are partly in host memory: they come through the ring ahead of their use, and where few tokens
// are to be multiplied, the host multiplies by some of the rows while the others come. What spans both is a backend, so
// no model knows.
#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <vector>

#include "backend/forwarding_backend.h"
#include "backend/strided.h"
#include "base/check.h"
#include "memory/residency.h"

namespace metallic {
namespace {

// Tokens of a step up to which the host takes its share: beyond, a copy is faster than its arithmetic.
constexpr int64_t kFewTokens = 8;

class DeviceStreamingBackend final : public ForwardingBackend {
 public:
  DeviceStreamingBackend(std::shared_ptr<Backend> inner, std::shared_ptr<Residency> residency)
      : ForwardingBackend(std::move(inner)), transfers_(*find_transfers(*inner_)), residency_(std::move(residency)) {}

  Status synchronize() override;
  void embed(const EmbedOp& op) override;
  void linear(const LinearOp& op) override;

 private:
  using Slice = StreamedMatrix::Slice;
  void multiply_on_device(const LinearOp& op, bool with_host);
  void multiply_on_host(const LinearOp& op);
  void issue(const TensorView& x);
  float* pinned(uint64_t floats, std::shared_ptr<void>& memory, uint64_t& size);
  const float* host_bias(const float* device, int64_t rows);
  void keep(const Error& failure) {
    if (!failure_) failure_ = failure;
  }

  Transfers& transfers_;
  std::shared_ptr<Residency> residency_;
  std::optional<Error> failure_;     // the first since synchronize()
  bool few_ = false;                 // tokens in this step
  std::vector<LinearTarget> parts_;  // of one operation, whose weights are at their places
  std::vector<std::byte> rows_;      // of embed()
  std::vector<int32_t> row_numbers_;
  std::shared_ptr<void> x_memory_, out_memory_;
  uint64_t x_size_ = 0, out_size_ = 0;
  std::unordered_map<const float*, std::vector<float>> biases_;
};

Status DeviceStreamingBackend::synchronize() {
  const Status status = inner_->synchronize();
  if (!failure_) return status;
  const Error failure = std::move(*failure_);
  failure_.reset();
  return tl::unexpected<Error>(failure);
}

float* DeviceStreamingBackend::pinned(uint64_t floats, std::shared_ptr<void>& memory, uint64_t& size) {
  if (floats > size) {
    auto larger = transfers_.allocate_pinned(floats * sizeof(float));
    if (!larger) {
      keep(larger.error());
      return nullptr;
    }
    memory = std::move(*larger);
    size = floats;
  }
  return static_cast<float*>(memory.get());
}

// Looked up on the host, which has the embedding.
void DeviceStreamingBackend::embed(const EmbedOp& op) {
  if (const int64_t tokens = int64_t(op.ids.size()); residency_->device_ring()) {
    few_ = tokens <= kFewTokens;
    residency_->device_ring()->choose_order(few_);
  }
  if (!is_streamed(*op.weight)) return inner_->embed(op);
  if (const Status status = residency_->read_rows(streamed_matrix(*op.weight), op.ids, rows_); !status)
    return keep(status.error());
  const int64_t count = int64_t(op.ids.size()), columns = op.weight->columns();
  row_numbers_.resize(op.ids.size());
  for (size_t i = 0; i < op.ids.size(); ++i) row_numbers_[i] = int32_t(i);
  Weight rows;
  rows.view = TensorView::dense(rows_.data(), op.weight->view.format, {count, columns});
  // What was copied from there before must have arrived.
  if (const Status status = inner_->synchronize(); !status) return keep(status.error());
  float* values = pinned(uint64_t(count * columns), out_memory_, out_size_);
  if (values == nullptr) return;
  residency_->host()->embed({&rows, row_numbers_, op.scale, TensorView::dense(values, Format::kF32, {count, columns})});
  for (int64_t i = 0; i < count; ++i)
    inner_->copy_from_host(float_at(op.out, i), values + i * columns, uint64_t(columns) * sizeof(float));
}

void DeviceStreamingBackend::linear(const LinearOp& op) {
  if (failure_) return;
  DeviceRing* ring = residency_->device_ring();
  if (ring) ring->release_all();
  const auto stays = [](const LinearTarget& target) { return !is_streamed(*target.weight); };
  if (std::all_of(op.targets.begin(), op.targets.end(), stays)) return inner_->linear(op);
  bool with_host = false;
  if (few_)
    for (const LinearTarget& target : op.targets)
      if (!stays(target))
        for (const Slice& slice : streamed_matrix(*target.weight).slices) with_host |= slice.host.rows() > 0;
  if (!with_host) return multiply_on_device(op, false);
  // x first: what the device does meanwhile comes behind it.
  const int64_t rows = op.x.shape[0], columns = op.x.shape[1];
  float* x = pinned(uint64_t(rows * columns), x_memory_, x_size_);
  if (x == nullptr) return;
  for (int64_t row = 0; row < rows; ++row)
    inner_->copy_to_host(x + row * columns, float_at(op.x, row), uint64_t(columns) * sizeof(float));
  multiply_on_device(op, true);
  transfers_.submit();
  multiply_on_host(op);
}

// All slices but those that the host takes.
void DeviceStreamingBackend::multiply_on_device(const LinearOp& op, bool with_host) {
  DeviceRing& ring = *residency_->device_ring();
  parts_.clear();
  for (const LinearTarget& target : op.targets) {
    if (!is_streamed(*target.weight)) {
      parts_.push_back(target);
      continue;
    }
    for (const Slice& slice : streamed_matrix(*target.weight).slices) {
      if (with_host && slice.host.rows() > 0) continue;
      const Weight* weight = slice.ring < 0 ? &slice.resident : ring.acquire(slice.ring);
      if (weight == nullptr) {  // room only after what came before
        issue(op.x);
        ring.release_all();
        weight = ring.acquire(slice.ring);
        METALLIC_CHECK(weight != nullptr);
      }
      LinearTarget part = target;
      part.weight = weight;
      if (target.bias != nullptr) part.bias += slice.first;
      part.out.data = float_at(target.out, 0) + slice.first;
      part.out.shape.size[1] = slice.rows;
      parts_.push_back(part);
    }
  }
  issue(op.x);
}

void DeviceStreamingBackend::issue(const TensorView& x) {
  if (!parts_.empty()) inner_->linear({x, parts_});
  parts_.clear();
}

void DeviceStreamingBackend::multiply_on_host(const LinearOp& op) {
  const int64_t tokens = op.x.shape[0];
  int64_t width = 0;
  for (const LinearTarget& target : op.targets)
    if (is_streamed(*target.weight))
      for (const Slice& slice : streamed_matrix(*target.weight).slices) width += slice.host.rows();
  float* out = pinned(uint64_t(tokens * width), out_memory_, out_size_);
  if (out == nullptr) return;
  struct Result {
    float* values;
    float* device;  // of the first token
    int64_t rows, stride;
  };
  std::vector<LinearTarget> parts;
  std::vector<Result> results;
  for (const LinearTarget& target : op.targets) {
    if (!is_streamed(*target.weight)) continue;
    for (const Slice& slice : streamed_matrix(*target.weight).slices) {
      if (slice.host.rows() == 0) continue;
      LinearTarget part = target;
      part.weight = &slice.host;
      if (target.bias != nullptr) part.bias = host_bias(target.bias, target.weight->rows()) + slice.first;
      part.out = TensorView::dense(out, Format::kF32, {tokens, slice.rows});
      results.push_back({out, float_at(target.out, 0) + slice.first, slice.rows, target.out.stride[0]});
      if (target.accumulate)
        for (int64_t t = 0; t < tokens; ++t)
          inner_->copy_to_host(float_at(part.out, t), float_at(target.out, t) + slice.first,
                               uint64_t(slice.rows) * sizeof(float));
      parts.push_back(part);
      out += tokens * slice.rows;
    }
  }
  const TensorView x = TensorView::dense(x_memory_.get(), Format::kF32, {tokens, op.x.shape[1]});
  constexpr size_t kTargets = 8;  // that the host takes at once
  for (size_t first = 0; first < parts.size(); first += kTargets)
    residency_->host()->linear({x, std::span(parts).subspan(first, std::min(kTargets, parts.size() - first))});
  for (const Result& result : results)
    for (int64_t t = 0; t < tokens; ++t)
      inner_->copy_from_host(reinterpret_cast<char*>(result.device) + t * result.stride,
                             result.values + t * result.rows, uint64_t(result.rows) * sizeof(float));
}

// A bias as the host sees it, fetched once.
const float* DeviceStreamingBackend::host_bias(const float* device, int64_t rows) {
  std::vector<float>& bias = biases_[device];
  if (bias.empty()) {
    bias.resize(size_t(rows));
    inner_->copy_to_host(bias.data(), device, uint64_t(rows) * sizeof(float));
  }
  return bias.data();
}

}  // namespace

std::shared_ptr<Backend> make_device_streaming_backend(std::shared_ptr<Backend> inner,
                                                       std::shared_ptr<Residency> residency) {
  return std::make_shared<DeviceStreamingBackend>(std::move(inner), std::move(residency));
}

}  // namespace metallic
