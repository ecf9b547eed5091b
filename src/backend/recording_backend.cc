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

// Each expert has statistics of its own, of the rows that came to it.
void RecordingBackend::experts(const ExpertsOp& op) {
  const int64_t pairs = int64_t(op.rows) * op.used;
  std::vector<int32_t> ids(static_cast<size_t>(pairs));
  inner_->copy_to_host(ids.data(), op.ids, ids.size() * sizeof(int32_t));
  const bool own_rows = op.x.shape[0] == pairs;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const int64_t row = own_rows ? pair : pair / op.used;
    const char* const at = static_cast<const char*>(op.x.data) + row * op.x.stride[0];
    record(op.experts[size_t(ids[size_t(pair)])], reinterpret_cast<const float*>(at), op.x.shape[1]);
  }
  inner_->experts(op);
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
