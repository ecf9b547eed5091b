// The one interface between models and hardware: memory, and about fifteen coarse operations. `reference` implements
// them obviously, the others fast; a table test holds each to the reference.
//
// Operations run in the order of the calls. Arguments are checked by whoever builds them; a wrong shape here is a
// defect. A failure of the device while it works is latched and returned by synchronize().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/batch.h"
#include "backend/sampling.h"
#include "metallic/tensor.h"

namespace metallic {

// A matrix that stays the same: (rows, columns), each row `columns` weights of one format. Made by
// Backend::load_weight.
struct Weight {
  TensorView view;                     // as the file has it; data may be null if the backend keeps only its own layout
  std::shared_ptr<const void> owner;   // keeps view.data alive
  std::shared_ptr<const void> packed;  // the backend's own layout, if it has one

  int64_t rows() const { return view.shape[0]; }
  int64_t columns() const { return view.shape[1]; }
};

// Rows `ids` of the weight, times `scale`, to out (ids, columns).
struct EmbedOp {
  const Weight* weight;
  std::span<const int32_t> ids;
  float scale;
  TensorView out;
};

// Over the last dimension of x (rows, width). RMS: x / sqrt(mean(x^2) + epsilon) * weight (arXiv:1910.07467). Layer: (x
// - mean) / sqrt(variance + epsilon) * weight + bias (arXiv:1607.06450). Out may be x.
struct NormOp {
  NormKind kind;
  float epsilon;
  TensorView x;               // (rows, heads, width), f32, any strides with a contiguous last dimension
  const float* weight;        // (width), or null for ones
  const float* bias;          // (width), or null
  TensorView out;             // like x
  int64_t weight_stride = 0;  // floats from one head's weight (and bias) to the next; 0: all heads share them
};

// How exactly a backend must take x where it may round it. What it needs not, it may do.
enum class Precision {
  kCodes,        // where the weight is quantised: 8 bits a number, with a scale for 32 of them
  kDoubleCodes,  // for the products whose errors weigh most: two levels of what x is rounded to, where else one does,
                 // as beside BF16 weights
  kFloat,        // float32
};

// out = x * weight^T + bias, or out += that. Several targets share x, so that a backend prepares it once.
struct LinearTarget {
  const Weight* weight;  // (m, k)
  const float* bias;     // (m), or null
  TensorView out;        // (rows, m), f32, contiguous last dimension
  bool accumulate;       // add to out (the residual) instead of replacing it
  Precision precision = Precision::kCodes;
};
struct LinearOp {
  TensorView x;  // (rows, k), f32, contiguous last dimension
  std::span<const LinearTarget> targets;
};

// Rotates the first 2 * frequencies.size() elements of each head in place: pair i of the row at position p by p *
// frequencies[i] radians; the result is multiplied by `magnitude`.
struct RopeOp {
  TensorView x;                        // (rows, heads, d), f32
  const int32_t* positions;            // (rows)
  std::span<const float> frequencies;  // (rotary dimensions / 2)
  float magnitude;
  RopeStyle style;
};

// Copies the rows of each sequence of the batch to their places in the KV pages, converting to the pages' format.
struct StoreKvOp {
  TensorView key, value;    // (rows, kv_heads, d), f32
  TensorView keys, values;  // (pages, kv_heads, page_tokens, d), f32 or f16
  std::span<const BatchSequence> sequences;
};

// Grouped-query attention over KV pages: softmax(scale * q.k) v, where the query at position p sees keys at positions
// <= p (causal) that are fewer than `window` back (window > 0). A position q of a sequence is at page pages[q /
// page_tokens].
struct AttentionOp {
  TensorView query;         // (rows, heads, d), f32
  TensorView keys, values;  // (pages, kv_heads, page_tokens, d), f32, f16; contiguous last dimension
  TensorView out;           // (rows, heads, dv), f32
  std::span<const BatchSequence> sequences;
  float scale;
  int32_t window;                // not causal: window / 2 positions either side
  bool causal;                   // if not, every query sees all position + rows keys of its sequence
  float softcap = 0;             // > 0: scores become softcap * tanh(score / softcap) (arXiv:2408.00118)
  const float* sinks = nullptr;  // (heads): a score that takes part in the softmax and has no value; or null
  // > 0: the largest bias of alibi.h; after the soft cap, scores lose slope * |query's position - key's position|.
  float alibi = 0;
};

// out = activation(x), times `factor` if it has data (the gated feed-forward network). All (rows, width), f32.
struct ActivateOp {
  Activation activation;
  TensorView x;
  TensorView factor;
  TensorView out;
  float clamp = 0;  // > 0: the clamped gate of gpt-oss (activation.h); needs a factor
};

// How the experts of a mixture are chosen for each row.
enum class RouterKind { kSoftmax, kSigmoid };
struct RouteOp {
  TensorView logits;            // (rows, experts), f32; used up: probabilities afterwards
  const float* selection_bias;  // (experts), added for choosing but not for weighting (arXiv:2408.15664); or null
  RouterKind kind;
  int32_t used;    // experts for each row
  int32_t groups;  // experts are in so many groups of which only the best are looked at (DeepSeek-V3); 1: no groups
  int32_t groups_used;  // 1 to groups
  int32_t group_top;    // a group is as good as the sum of its so many best experts
  bool normalise;       // the weights are divided by their sum
  float scale;          // of the weights, afterwards
  int32_t* ids;         // out: (rows, used), best first
  float* weights;       // out: (rows, used)
};

// Row r * used + i of out is the expert ids[r, i] of row r: out = x * expert^T + bias. x has a row for each r or for
// each (r, i).
struct ExpertsOp {
  TensorView x;                     // (rows, k) or (rows * used, k)
  std::span<const Weight> experts;  // each (m, k)
  const float* bias;                // (experts, m), or null
  const int32_t* ids;               // (rows, used)
  int32_t rows, used;
  TensorView out;  // (rows * used, m)
};

// What each chosen expert makes of its row: up and down of a feed-forward network, and its gate.
struct ExpertNetworkOp {
  ExpertsOp gate;  // no experts: there is none
  ExpertsOp up;    // of the same x
  ActivateOp activate;
  ExpertsOp down;
};

// out (rows, width) += sum over i of weights[r, i] * x[r * used + i].
struct CombineOp {
  TensorView x;          // (rows * used, width)
  const float* weights;  // (rows, used)
  int32_t used;
  TensorView out;  // (rows, width)
};

enum class BinaryKind { kAdd, kMultiply };
// out = a op b, element by element; the views have one shape, broadcasting is a stride of 0. Out may be a or b.
struct BinaryOp {
  BinaryKind kind;
  TensorView a, b, out;
};

// What a device can do at most, for judging what was measured beside it. 0: not known.
struct DeviceLimits {
  double read_bytes_per_second = 0;      // of its memory, beyond all caches
  double dot_operations_per_second = 0;  // multiplications and additions of 8-bit integers
};

// A device that can be told what to do. One thread at a time.
class Backend : public Device {
 public:
  // Memory of the device, zeroed; freed with the last reference. kOutOfMemory says how much was wanted.
  virtual Result<std::shared_ptr<void>> allocate(uint64_t bytes) = 0;
  virtual int threads() const = 0;  // host threads that work for it
  virtual void copy_from_host(void* to, const void* from, uint64_t bytes) = 0;
  virtual void copy_to_host(void* to, const void* from, uint64_t bytes) = 0;
  // Waits for all work; returns the first failure since the last call.
  virtual Status synchronize() = 0;

  // Brings a matrix to the device. `host` is dense and lives as long as `owner`; any format that has a dequantiser.
  virtual Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) = 0;
  // The same for a matrix of which rows are looked up (embed), or which is multiplied in float: no other layout is
  // needed.
  virtual Result<Weight> load_plain(const TensorView& host, std::shared_ptr<const void> owner) {
    return load_weight(host, std::move(owner));
  }

  // Whether keys and values can be kept in `format`, one of kKvFormats.
  virtual bool holds_kv(Format format) const {
    return format == Format::kF32 || format == Format::kF16 || format == Format::kBF16;
  }
  // In whose memory the KV cache is, and who may copy it.
  virtual Backend& kv_backend() { return *this; }
  // Whether a product that is added to what is there (LinearTarget::accumulate) costs less than one that binary() adds
  // afterwards. The bits are the same.
  virtual bool adds_in_products() const { return false; }

  virtual void embed(const EmbedOp& op) = 0;
  virtual void norm(const NormOp& op) = 0;
  virtual void linear(const LinearOp& op) = 0;
  virtual void rope(const RopeOp& op) = 0;
  virtual void store_kv(const StoreKvOp& op) = 0;
  virtual void attention(const AttentionOp& op) = 0;
  virtual void activate(const ActivateOp& op) = 0;
  virtual void binary(const BinaryOp& op) = 0;
  // x = x * factor, and then softcap * tanh(x / softcap) if softcap > 0. Dense rows (rows, width), f32, in place.
  virtual void scale(const TensorView& x, float factor, float softcap) = 0;
  virtual void route(const RouteOp& op) = 0;
  virtual void experts(const ExpertsOp& op) = 0;
  // The same as its operations one after the other.
  virtual void expert_network(const ExpertNetworkOp& op) {
    if (!op.gate.experts.empty()) experts(op.gate);
    experts(op.up);
    activate(op.activate);
    experts(op.down);
  }
  virtual void combine(const CombineOp& op) = 0;
  virtual void softmax(const TensorView& x, const TensorView& out) = 0;  // over the last dimension; f32
  // Batched product of float tensors of any strides: (b, c, n, k) x (b, c, k, m) -> (b, c, n, m), f32 out.
  virtual void matmul(const TensorView& a, const TensorView& b, const TensorView& out) = 0;
  // Element by element between views of one shape: f32, f16, bf16 either way, and from quantised formats to f32.
  virtual void copy(const TensorView& from, const TensorView& to) = 0;
  virtual void random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) = 0;  // dense f32

  // Rows of logits that are computed at a time, where more are wanted.
  virtual int logit_rows() const { return 16; }
  // Whether sample() can choose a row so; if not, it gives kChooseOnHost for it.
  virtual bool can_sample(const SampleRow&) const { return false; }
  virtual void sample(const SampleOp& op) = 0;

  // Measures them now, with all threads, in less than a second.
  virtual DeviceLimits measure_limits() { return {}; }
};

// Backends by name, in order of preference; "auto" is the GPU if one can be used, else the CPU. kNotFound lists the
// known ones, kUnsupported says why one that is known cannot be used here. Without `repack` the CPU takes weights as
// they lie in the file: nothing to wait for at load, more work in each step.
Result<std::shared_ptr<Backend>> open_backend(const std::string& name, int threads, bool repack = true);
std::span<const char* const> backend_names();

// What there is to compute with: the processor first.
struct DeviceInfo {
  std::string name;         // to open it by: "cpu", "cuda"
  std::string description;  // "NVIDIA H200, compute capability 9.0, 132 multiprocessors"
  uint64_t memory_bytes = 0, free_bytes = 0;
  double bandwidth = 0;  // of its memory, bytes a second; 0: not known
  std::string problem;   // why it cannot be used; empty if it can
};
std::vector<DeviceInfo> list_devices();

}  // namespace metallic
