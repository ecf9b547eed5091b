// The backend itself: every call becomes a command (commands.h) in the queue.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cuda.h"
#include "backend/cuda/fetch.h"
#include "backend/cuda/handovers.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/transfers.h"
#include "backend/cuda/upload.h"
#include "backend/run_ahead.h"
#include "backend/transfers.h"

namespace metallic::cuda {

class CudaBackend final : public Backend, public Transfers, public RunAhead {
 public:
  CudaBackend(std::string name, std::shared_ptr<Queue> queue, bool reproducible)
      : name_(std::move(name)), queue_(std::move(queue)), reproducible_(reproducible) {}

  const std::string& name() const override { return name_; }
  int threads() const override { return 1; }
  Result<std::shared_ptr<void>> allocate(uint64_t bytes) override;
  void copy_from_host(void* to, const void* from, uint64_t bytes) override;
  void copy_to_host(void* to, const void* from, uint64_t bytes) override;
  Status synchronize() override;
  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) override;

  void embed(const EmbedOp& op) override;
  void norm(const NormOp& op) override;
  void linear(const LinearOp& op) override;
  void rope(const RopeOp& op) override;
  void store_kv(const StoreKvOp& op) override;
  void attention(const AttentionOp& op) override;
  void activate(const ActivateOp& op) override;
  void binary(const BinaryOp& op) override;
  void scale(const TensorView& x, float factor, float softcap) override;
  void route(const RouteOp& op) override;
  void experts(const ExpertsOp& op) override;
  void combine(const CombineOp& op) override;
  void softmax(const TensorView& x, const TensorView& out) override;
  void matmul(const TensorView& a, const TensorView& b, const TensorView& out) override;
  void copy(const TensorView& from, const TensorView& to) override;
  void random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) override;
  bool holds_kv(Format format) const override {
    return format == Format::kQ8_0 || format == Format::kF8_E4M3 || Backend::holds_kv(format);
  }
  int logit_rows() const override { return 64; }  // so that the head is read once for a batch
  bool can_sample(const SampleRow& row) const override;
  void sample(const SampleOp& op) override;
  void fetch(const int32_t* from, int count) override;
  Status fetched(std::span<int32_t> to) override;

  // transfers.cc
  Result<std::shared_ptr<void>> allocate_pinned(uint64_t bytes) override;
  uint64_t packed_bytes(const TensorView& host) const override;
  Status pack(const TensorView& host, void* to) override;
  Weight unplaced(const TensorView& host) const override;
  void place(const Weight& weight, void* device_memory) override;
  uint64_t mark() override;
  bool decodes_first(int64_t rows) const override;
  uint64_t copy_ahead(void* to, const void* from, uint64_t bytes, uint64_t after) override;
  void defer(bool deferred) override;
  uint64_t working_bytes(const TensorView& host) const override;
  uint64_t copy_and_pack(const TensorView& host, void* to, void* working, uint64_t after) override;
  bool is_done(uint64_t copy) override;
  void finish_copy(uint64_t copy) override;
  void wait_for_copy(uint64_t copy) override;
  using Transfers::copy_rows;
  void copy_rows(std::span<const RowCopy> copies) override;
  void copy_wanted_rows(const RowCopy& copy, const int32_t* wanted) override;
  void submit() override;
  void wait() override;
  bool failed() const override;
  uint64_t ask() override;
  void wait_for_answer(uint64_t number) override;
  bool is_asked(uint64_t number) const override;
  void answer(uint64_t number) override;

 private:
  // Working memory of sample(): false after a failure, which the stream keeps.
  bool reserve_sampling(SampleArgs& args, size_t changes);
  // Null after a failure, which the stream keeps.
  template <class T>
  T* opened(std::unique_ptr<T>& one);
  CopyStream* copies();
  HandOvers* handovers();
  // What store_kv and attention need of the sequences of a batch, in device memory.
  struct StagedSequences {
    const DeviceSequence* sequences;
    const RowPlace* places;
    int32_t rows, longest, most_rows;
  };
  // Leaves room for `further_bytes` of one more array.
  StagedSequences stage_sequences(std::span<const BatchSequence> sequences, int64_t page_tokens,
                                  uint64_t further_bytes = 0);
  // The weights of a mixture as a table in device memory.
  const WeightRef* expert_table(std::span<const Weight> experts);
  // Whether keys or values may have this format; if not, synchronize() will say so.
  bool has_pages(const TensorView& pages);
  void copy_through_host(const TensorView& from, const TensorView& to);

  struct Table {
    std::vector<WeightRef> host;
    std::shared_ptr<void> device;
  };

  std::string name_;
  std::shared_ptr<Queue> queue_;
  bool reproducible_;
  std::unique_ptr<Uploader> uploader_;  // made when the first weight comes
  std::unordered_map<const Weight*, Table> tables_;
  std::vector<DeviceSequence> sequences_;
  std::vector<RowPlace> places_;
  std::vector<int32_t> page_table_;
  std::vector<float> slopes_;
  std::shared_ptr<void> sampling_;
  uint64_t sampling_bytes_ = 0;
  char* bounce_ = nullptr;  // pinned memory for small copies to the host
  std::shared_ptr<void> bounce_owner_;
  std::unique_ptr<CopyStream> copies_;
  std::unique_ptr<HandOvers> handovers_;
  Fetches fetches_;
  const int32_t* chosen_ = nullptr;  // where the latest sample() leaves its choices
};

// What Weight::packed of this backend points to.
struct LoadedWeight {
  WeightRef ref = {};
  std::shared_ptr<void> memory;
};
const WeightRef& weight_ref(const Weight& weight);

// Brings a matrix to the device, in planes where its format has them.
Result<Weight> load(Uploader& uploader, const std::shared_ptr<Queue>& queue, const TensorView& host,
                    std::shared_ptr<const void> host_owner, bool planes);

Result<std::shared_ptr<void>> allocate_shared(const std::shared_ptr<Queue>& queue, uint64_t bytes, const char* what);

// One command by the plain kernels, whose weights are in Layout::kBlocks.
void launch_exact(const Command& command, cudaStream_t stream);

std::unique_ptr<Launcher> make_fast_launcher(Stream& stream);

// The launcher of all commands.
std::unique_ptr<Launcher> make_launcher(Stream& stream, bool reproducible);

}  // namespace metallic::cuda
