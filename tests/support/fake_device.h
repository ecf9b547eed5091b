// A device made of host memory whose copies happen at the last moment and spoil their target at the first.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/forwarding_backend.h"
#include "backend/transfers.h"
#include "base/error.h"

namespace metallic::testing {

class FakeDevice final : public ForwardingBackend, public Transfers {
 public:
  FakeDevice() : ForwardingBackend(*open_backend("cpu", 1)) {}

  int64_t fail_allocation = -1;  // this one of the pinned allocations fails
  // Of its own memory: how much there is (0: no limit), and how much is taken.
  uint64_t capacity = 0;
  std::shared_ptr<uint64_t> used = std::make_shared<uint64_t>(0);
  int64_t fail_copy = -1;  // this one of the copies between host and device fails
  Status failure;          // what synchronize() says next
  int marks = 0, copies = 0, attentions = 0, waits = 0;
  bool is_deferred = false;

  void copy_from_host(void* to, const void* from, uint64_t bytes) override {
    if (copy_fails()) return;
    inner_->copy_from_host(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, uint64_t bytes) override {
    if (copy_fails()) return;
    inner_->copy_to_host(to, from, bytes);
  }
  Status synchronize() override {
    deliver();
    return std::exchange(failure, Status());
  }
  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void>) override {
    expect_bytes(host);
    const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
    METALLIC_ASSIGN(const std::shared_ptr<void> memory, allocate(bytes));
    std::memcpy(memory.get(), host.data, bytes);
    Weight weight = unplaced(host);
    place(weight, memory.get());
    const_cast<Placed*>(placed(weight))->memory = memory;
    return weight;
  }
  Result<std::shared_ptr<void>> allocate(uint64_t bytes) override {
    if (capacity > 0 && *used + bytes > capacity)
      return tl::unexpected<Error>(Error{ErrorCode::kOutOfMemory, "the device is full"});
    METALLIC_ASSIGN(std::shared_ptr<void> memory, inner_->allocate(bytes));
    *used += bytes;
    return std::shared_ptr<void>(memory.get(), [memory, bytes, taken = used](void*) { *taken -= bytes; });
  }
  Result<Weight> load_plain(const TensorView& host, std::shared_ptr<const void> owner) override {
    return load_weight(host, std::move(owner));
  }
  void linear(const LinearOp& op) override {
    std::vector<Weight> weights(op.targets.size());
    std::vector<LinearTarget> targets(op.targets.begin(), op.targets.end());
    for (size_t i = 0; i < targets.size(); ++i) {
      weights[i].view = placed(*targets[i].weight)->view;
      targets[i].weight = &weights[i];
    }
    inner_->linear({op.x, targets});
  }
  void experts(const ExpertsOp& op) override {
    std::vector<Weight> weights(op.experts.size());
    for (size_t i = 0; i < weights.size(); ++i) weights[i].view = placed(op.experts[i])->view;
    ExpertsOp here = op;
    here.experts = weights;
    inner_->experts(here);
  }
  void attention(const AttentionOp& op) override {
    ++attentions;
    inner_->attention(op);
  }
  void embed(const EmbedOp& op) override {
    Weight weight;
    weight.view = placed(*op.weight)->view;
    inner_->embed({&weight, op.ids, op.scale, op.out});
  }

  Result<std::shared_ptr<void>> allocate_pinned(uint64_t bytes) override {
    if (fail_allocation >= 0 && fail_allocation-- == 0)
      return tl::unexpected<Error>(Error{ErrorCode::kOutOfMemory, "no pinned memory"});
    void* const memory = ::operator new(bytes);
    pinned_[static_cast<char*>(memory)] = bytes;
    return std::shared_ptr<void>(memory, [this](void* p) {
      deliver();
      pinned_.erase(static_cast<char*>(p));
      ::operator delete(p);
    });
  }
  uint64_t packed_bytes(const TensorView& host) const override {
    return uint64_t(host.shape[0] * host.stride[0] + 255) / 256 * 256;
  }
  Status pack(const TensorView& host, void* to) override {
    std::memcpy(to, host.data, size_t(host.shape[0] * host.stride[0]));
    return {};
  }
  Weight unplaced(const TensorView& host) const override {
    Weight weight;
    weight.view = host;
    weight.view.data = nullptr;
    auto made = std::make_shared<Placed>();
    made->view = weight.view;
    weight.packed = made;
    return weight;
  }
  void place(const Weight& weight, void* device_memory) override {
    const_cast<Placed*>(placed(weight))->view.data = device_memory;
  }
  uint64_t mark() override { return uint64_t(++marks); }
  bool decodes_first(int64_t rows) const override { return rows > 16; }
  uint64_t copy_ahead(void* to, const void* from, uint64_t bytes, uint64_t after) override {
    EXPECT_LE(after, uint64_t(marks));
    std::memset(to, 0x5a, bytes);
    waiting_[uint64_t(++copies)] = {to, from, bytes};
    return uint64_t(copies);
  }
  // By way of working memory that is spoilt, too.
  uint64_t working_bytes(const TensorView& host) const override { return packed_bytes(host); }
  uint64_t copy_and_pack(const TensorView& host, void* to, void* working, uint64_t after) override {
    const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
    std::memset(working, 0xa5, bytes);
    return copy_ahead(to, host.data, bytes, after);
  }
  void defer(bool deferred) override { is_deferred = deferred; }
  bool is_done(uint64_t copy) override { return !waiting_.contains(copy); }
  void finish_copy(uint64_t copy) override { wait_for_copy(copy); }
  // One after the other, as by a copy engine.
  void wait_for_copy(uint64_t copy) override {
    for (; !waiting_.empty() && waiting_.begin()->first <= copy; waiting_.erase(waiting_.begin())) {
      const Copy& next = waiting_.begin()->second;
      std::memcpy(next.to, next.from, next.bytes);
    }
  }
  // What goes to the host is there when it has been waited for, and spoilt until then.
  using Transfers::copy_rows;
  void copy_rows(std::span<const RowCopy> all) override {
    for (const RowCopy& copy : all) copy_some(copy);
  }
  void copy_wanted_rows(const RowCopy& copy, const int32_t* wanted) override {
    for (int64_t row = 0; row < copy.rows; ++row)
      if (wanted[row] != 0)
        copy_some({static_cast<const char*>(copy.from) + row * copy.from_stride,
                   static_cast<char*>(copy.to) + row * copy.to_stride, 0, 0, copy.row_bytes, 1});
  }
  void submit() override {}
  void wait() override {
    ++waits;
    deliver();
  }
  bool failed() const override { return !failure; }
  // Operations happen when they are called: the caller waits for the host.
  uint64_t ask() override {
    deliver();
    return ++asked_;
  }
  void wait_for_answer(uint64_t number) override {
    ++waits;
    for (uint64_t seen = answered_; seen < number; seen = answered_) answered_.wait(seen);
  }
  bool is_asked(uint64_t number) const override { return asked_ >= number; }
  void answer(uint64_t number) override {
    answered_ = number;
    answered_.notify_all();
  }

 private:
  void copy_some(const RowCopy& copy) {
    if (copy_fails()) return;
    for (int64_t row = 0; row < copy.rows; ++row) {
      char* const to = static_cast<char*>(copy.to) + row * copy.to_stride;
      const char* const from = static_cast<const char*>(copy.from) + row * copy.from_stride;
      if (is_pinned(to)) {
        arriving_.push_back({to, std::string(from, size_t(copy.row_bytes))});
        std::memset(to, 0x5a, size_t(copy.row_bytes));
      } else {
        std::memcpy(to, from, size_t(copy.row_bytes));
      }
    }
  }
  bool is_pinned(const char* at) const {
    const auto behind = pinned_.upper_bound(const_cast<char*>(at));
    return behind != pinned_.begin() && at < std::prev(behind)->first + std::prev(behind)->second;
  }
  void deliver() {
    for (const Arriving& each : arriving_) std::memcpy(each.to, each.bytes.data(), each.bytes.size());
    arriving_.clear();
  }
  bool copy_fails() {
    if (fail_copy < 0 || fail_copy-- != 0) return false;
    failure = tl::unexpected<Error>(Error{ErrorCode::kDevice, "the copy engine stopped"});
    return true;
  }
  struct Placed {
    TensorView view;
    std::shared_ptr<void> memory;
  };
  struct Copy {
    void* to;
    const void* from;
    uint64_t bytes;
  };
  static void expect_bytes(const TensorView& host) { EXPECT_NE(host.data, nullptr); }
  static const Placed* placed(const Weight& weight) { return static_cast<const Placed*>(weight.packed.get()); }
  struct Arriving {
    char* to;
    std::string bytes;
  };
  std::map<uint64_t, Copy> waiting_;
  std::vector<Arriving> arriving_;
  std::map<char*, uint64_t> pinned_;
  std::atomic<uint64_t> asked_ = 0, answered_ = 0;
};

}  // namespace metallic::testing
