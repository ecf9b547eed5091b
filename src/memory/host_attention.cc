// Of each layer the new keys and values and the queries come to pinned memory, once for all of them the host waits, and
// what was attended to goes back: for one token some kilobytes either way and a hand-over, whatever the context.
#include "memory/host_attention.h"

#include <optional>
#include <utility>
#include <vector>

#include "backend/forwarding_backend.h"
#include "backend/strided.h"
#include "backend/transfers.h"
#include "base/check.h"
#include "base/error.h"
#include "memory/device_experts.h"

namespace metallic {
namespace {

constexpr int64_t kFloat = sizeof(float);

class HostAttentionBackend final : public ForwardingBackend {
 public:
  HostAttentionBackend(std::shared_ptr<Backend> inner, std::shared_ptr<Backend> device, std::shared_ptr<Backend> host)
      : ForwardingBackend(std::move(inner)),
        device_(std::move(device)),
        transfers_(*find_transfers(*device_)),
        host_(std::move(host)) {}

  Backend& kv_backend() override { return *host_; }
  bool holds_kv(Format format) const override { return host_->holds_kv(format); }
  Status synchronize() override;
  void store_kv(const StoreKvOp& op) override;
  void attention(const AttentionOp& op) override;
  void expert_network(const ExpertNetworkOp& op) override { inner_->expert_network(op); }

 private:
  std::optional<TensorView> pinned(PinnedFloats& memory, const TensorView& like);
  std::optional<TensorView> bring(const TensorView& view, PinnedFloats& memory);
  void store_what_came();

  std::shared_ptr<Backend> device_;
  Transfers& transfers_;
  std::shared_ptr<Backend> host_;
  std::optional<Error> failure_;     // the first since synchronize()
  std::optional<StoreKvOp> coming_;  // keys and values that are on their way to pinned memory
  std::vector<BatchSequence> coming_sequences_;
  PinnedFloats query_, key_, value_, attended_;
  HostBiases sinks_;
};

// Between views (rows, heads, width) whose last dimension is contiguous.
void copy_heads(Transfers& transfers, const TensorView& from, const TensorView& to) {
  const int64_t rows = from.shape[0], heads = from.shape[1], bytes = from.shape[2] * kFloat;
  if (from.stride[1] == bytes && to.stride[1] == bytes)  // all heads of a row at once
    return transfers.copy_rows({from.data, to.data, from.stride[0], to.stride[0], heads * bytes, rows});
  std::vector<RowCopy> copies;
  for (int64_t head = 0; head < heads; ++head)
    copies.push_back({float_at(from, 0, head), float_at(to, 0, head), from.stride[0], to.stride[0], bytes, rows});
  transfers.copy_rows(copies);
}

// Dense; none after a failure.
std::optional<TensorView> HostAttentionBackend::pinned(PinnedFloats& memory, const TensorView& like) {
  const auto values = memory.get(transfers_, uint64_t(like.shape[0] * like.shape[1] * like.shape[2]));
  if (values) return TensorView::dense(*values, Format::kF32, {like.shape[0], like.shape[1], like.shape[2]});
  if (!failure_) failure_ = values.error();
  return std::nullopt;
}

std::optional<TensorView> HostAttentionBackend::bring(const TensorView& view, PinnedFloats& memory) {
  const auto to = pinned(memory, view);
  if (to) copy_heads(transfers_, view, *to);
  return to;
}

void HostAttentionBackend::store_what_came() {
  host_->store_kv(*coming_);
  coming_.reset();
}

// They are stored when the query has come, too: the host waits once for each layer.
void HostAttentionBackend::store_kv(const StoreKvOp& op) {
  if (failure_) return;
  if (coming_) {
    transfers_.wait();
    if (transfers_.failed()) return;
    store_what_came();
  }
  const auto key = bring(op.key, key_), value = bring(op.value, value_);
  if (!key || !value) return;
  coming_sequences_.assign(op.sequences.begin(), op.sequences.end());
  coming_ = StoreKvOp{*key, *value, op.keys, op.values, coming_sequences_};
}

void HostAttentionBackend::attention(const AttentionOp& op) {
  if (failure_) return;
  const auto query = bring(op.query, query_), attended = pinned(attended_, op.out);
  if (!query || !attended) return;
  transfers_.wait();
  if (transfers_.failed()) return;  // the host may be at what it was handed before
  if (coming_) store_what_came();
  AttentionOp here = op;
  here.query = *query;
  here.out = *attended;
  if (op.sinks != nullptr) here.sinks = sinks_.get(*device_, op.sinks, op.query.shape[1]);
  host_->attention(here);
  copy_heads(transfers_, *attended, op.out);
}

Status HostAttentionBackend::synchronize() {
  const Status status = inner_->synchronize();
  if (!status || failure_) coming_.reset();
  if (coming_) store_what_came();
  if (!failure_) return status;
  const Error failure = std::move(*failure_);
  failure_.reset();
  return tl::unexpected<Error>(failure);
}

}  // namespace

std::shared_ptr<Backend> make_host_attention_backend(std::shared_ptr<Backend> inner, std::shared_ptr<Backend> device,
                                                     std::shared_ptr<Backend> host) {
  METALLIC_CHECK(find_transfers(*device) != nullptr);
  return std::make_shared<HostAttentionBackend>(std::move(inner), std::move(device), std::move(host));
}

}  // namespace metallic
