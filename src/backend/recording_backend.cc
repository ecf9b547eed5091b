#include "backend/recording_backend.h"

#include "base/check.h"

namespace metallic {
namespace {

// What stays the same in all copies of a Weight and differs between two weights.
const void* loaded_address(const Weight& weight) { return weight.packed ? weight.packed.get() : weight.view.data; }

}  // namespace

Result<Weight> RecordingBackend::load_weight(const TensorView& host, std::shared_ptr<const void> owner) {
  auto weight = inner_->load_weight(host, std::move(owner));
  if (weight) host_of_[loaded_address(*weight)] = host.data;
  return weight;
}

void RecordingBackend::linear(const LinearOp& op) {
  const int64_t rows = op.x.shape[0], columns = op.x.shape[1];
  for (const LinearTarget& target : op.targets)
    for (int64_t row = 0; row < rows; ++row) {
      const char* const at = static_cast<const char*>(op.x.data) + row * op.x.stride[0];
      record(*target.weight, reinterpret_cast<const float*>(at), columns);
    }
  inner_->linear(op);
}

void RecordingBackend::record(const Weight& weight, const float* row, int64_t columns) {
  const auto host = host_of_.find(loaded_address(weight));
  METALLIC_CHECK(host != host_of_.end());
  InputStatistics& statistics = statistics_[host->second];
  statistics.squares.resize(size_t(columns));
  row_.resize(size_t(columns));
  inner_->copy_to_host(row_.data(), row, uint64_t(columns) * sizeof(float));
  for (size_t i = 0; i < row_.size(); ++i) statistics.squares[i] += double(row_[i]) * double(row_[i]);
  ++statistics.rows;
}

}  // namespace metallic
