#include "backend/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "backend/alibi.h"
#include "backend/copy.h"
#include "backend/strided.h"
#include "base/check.h"
#include "base/error.h"

namespace metallic {

using namespace cuda;

namespace cuda {
namespace {

constexpr uint64_t kBounceBytes = 4 << 20;

int64_t floats(int64_t bytes) { return bytes / int64_t(sizeof(float)); }

Rows rows_of(const TensorView& view) { return {static_cast<float*>(view.data), floats(view.stride[0])}; }
Heads heads_of(const TensorView& view) {
  return {static_cast<float*>(view.data), floats(view.stride[0]), floats(view.stride[1])};
}
Strided strided_of(const TensorView& rank4_view) {
  Strided result{static_cast<char*>(rank4_view.data), {}};
  std::copy(rank4_view.stride.begin(), rank4_view.stride.end(), result.stride);
  return result;
}
void set_size(const Shape& shape, int64_t* size) { std::copy(shape.size.begin(), shape.size.end(), size); }

Pages pages_of(const TensorView& view) {
  const int64_t element = format_info(view.format).block_bytes;
  Pages pages = {};
  pages.data = view.data;
  pages.page_stride = view.stride[0] / element;
  pages.head_stride = view.stride[1] / element;
  pages.token_stride = view.stride[2] / element;
  pages.format = view.format;
  pages.page_tokens = int32_t(view.shape[2]);
  pages.width = int32_t(view.shape[3]);
  return pages;
}

}  // namespace

Result<std::shared_ptr<void>> allocate_shared(const std::shared_ptr<Queue>& queue, uint64_t bytes, const char* what) {
  (void)cudaSetDevice(queue->stream().device());
  METALLIC_ASSIGN(void* memory, queue->stream().allocate(bytes, what));
  return std::shared_ptr<void>(memory, [queue](void* p) { queue->free(p); });
}

const WeightRef& weight_ref(const Weight& weight) {
  METALLIC_CHECK(weight.packed != nullptr);
  return static_cast<const LoadedWeight*>(weight.packed.get())->ref;
}

bool CudaBackend::has_pages(const TensorView& pages) {
  if (holds_kv(pages.format)) return true;
  queue_->stream().keep(
      Error{ErrorCode::kUnsupported,
            fmt::format("a KV cache of type {} is not possible on a GPU yet; there are: F16, BF16, F32, Q8_0, F8_E4M3",
                        format_info(pages.format).name)});
  return false;
}

Result<std::shared_ptr<void>> CudaBackend::allocate(uint64_t bytes) {
  METALLIC_ASSIGN(std::shared_ptr<void> memory, allocate_shared(queue_, bytes, "tensors"));
  queue_->stream().check(cudaMemsetAsync(memory.get(), 0, bytes == 0 ? 1 : bytes, queue_->stream().get()),
                         "clearing memory");
  return memory;
}

void CudaBackend::copy_from_host(void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  queue_->flush();
  queue_->stream().check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, queue_->stream().get()),
                         "copying to the GPU");
}

void CudaBackend::copy_to_host(void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  queue_->flush();
  Stream& stream = queue_->stream();
  if (bounce_ == nullptr &&
      stream.check(cudaMallocHost(reinterpret_cast<void**>(&bounce_), kBounceBytes), "allocating pinned memory"))
    bounce_owner_ = std::shared_ptr<void>(bounce_, [](void* p) { (void)cudaFreeHost(p); });
  const bool small = bytes <= kBounceBytes && bounce_ != nullptr;
  stream.check(cudaMemcpyAsync(small ? bounce_ : to, from, bytes, cudaMemcpyDeviceToHost, stream.get()),
               "copying from the GPU");
  if (stream.check(cudaStreamSynchronize(stream.get()), "computing") && small) std::memcpy(to, bounce_, bytes);
}

Status CudaBackend::synchronize() {
  queue_->flush();
  return queue_->stream().synchronize("computing");
}

Result<Weight> CudaBackend::load_weight(const TensorView& host, std::shared_ptr<const void> owner) {
  queue_->flush();
  if (uploader_ == nullptr) {
    METALLIC_ASSIGN(uploader_, Uploader::create(queue_->stream().device()));
  }
  METALLIC_ASSIGN(Weight weight, load(*uploader_, queue_, host, std::move(owner), !reproducible_));
  if (queue_->stream().failed()) METALLIC_TRY(queue_->stream().synchronize("loading weights"));
  return weight;
}

void CudaBackend::embed(const EmbedOp& op) {
  queue_->reserve(op.ids.size_bytes());
  Command command(CommandKind::kEmbed);
  command.embed.weight = weight_ref(*op.weight);
  const bool chosen = !op.ids.empty() && op.ids[0] == chosen_before(0);
  METALLIC_CHECK(!chosen || chosen_ != nullptr);
  command.embed.ids = chosen ? chosen_ : queue_->stage(op.ids);
  command.embed.count = int32_t(op.ids.size());
  command.embed.scale = op.scale;
  command.embed.out = rows_of(op.out);
  queue_->add(command);
}

void CudaBackend::norm(const NormOp& op) {
  queue_->reserve(0);
  Command command(CommandKind::kNorm);
  NormArgs& args = command.norm;
  args.layer = op.kind == NormKind::kLayer;
  args.epsilon = op.epsilon;
  args.rows = int32_t(op.x.shape[0]);
  args.heads = int32_t(op.x.shape[1]);
  args.width = int32_t(op.x.shape[2]);
  args.x = heads_of(op.x);
  args.out = heads_of(op.out);
  args.weight = op.weight;
  args.bias = op.bias;
  args.weight_stride = op.weight_stride;
  queue_->add(command);
}

void CudaBackend::linear(const LinearOp& op) {
  for (size_t first = 0; first < op.targets.size(); first += LinearArgs::kTargets) {
    queue_->reserve(0);
    Command command(CommandKind::kLinear);
    LinearArgs& args = command.linear;
    args.x = rows_of(op.x);
    args.rows = int32_t(op.x.shape[0]);
    args.columns = int32_t(op.x.shape[1]);
    args.count = int32_t(std::min<size_t>(LinearArgs::kTargets, op.targets.size() - first));
    for (int32_t i = 0; i < args.count; ++i) {
      const LinearTarget& target = op.targets[first + size_t(i)];
      args.targets[i].weight = weight_ref(*target.weight);
      args.targets[i].bias = target.bias;
      args.targets[i].out = rows_of(target.out);
      args.targets[i].accumulate = target.accumulate;
    }
    queue_->add(command);
  }
}

void CudaBackend::rope(const RopeOp& op) {
  const std::span<const int32_t> positions(op.positions, size_t(op.x.shape[0]));
  queue_->reserve(positions.size_bytes() + op.frequencies.size_bytes() + 32);
  Command command(CommandKind::kRope);
  RopeArgs& args = command.rope;
  args.x = heads_of(op.x);
  args.rows = int32_t(op.x.shape[0]);
  args.heads = int32_t(op.x.shape[1]);
  args.pairs = int32_t(op.frequencies.size());
  args.interleaved = op.style == RopeStyle::kInterleaved;
  args.positions = queue_->stage(positions);
  args.frequencies = queue_->stage(op.frequencies);
  args.magnitude = op.magnitude;
  if (args.pairs > 0) queue_->add(command);
}

CudaBackend::StagedSequences CudaBackend::stage_sequences(std::span<const BatchSequence> sequences, int64_t page_tokens,
                                                          uint64_t further_bytes) {
  constexpr int64_t kPageStep = 64;  // page tables and lengths are rounded up, so that commands seldom change
  constexpr uint32_t kShortest = 256;
  sequences_.clear();
  places_.clear();
  page_table_.clear();
  StagedSequences staged = {};
  int64_t pages = 0;
  for (const BatchSequence& s : sequences) {
    const int64_t count = (int64_t(s.position) + s.rows + page_tokens - 1) / page_tokens;
    const size_t begin = page_table_.size();
    page_table_.insert(page_table_.end(), s.pages, s.pages + count);
    page_table_.resize(begin + size_t((count + kPageStep - 1) / kPageStep * kPageStep));
    for (int32_t i = 0; i < s.rows; ++i) {
      const int32_t position = s.position + i;
      places_.push_back({int32_t(sequences_.size()), s.first_row + i, position, s.pages[position / page_tokens]});
    }
    DeviceSequence& device = sequences_.emplace_back();
    device = {s.first_row, s.rows, s.position, 0, nullptr};
    pages += count;
    staged.rows += s.rows;
    staged.most_rows = std::max(staged.most_rows, s.rows);
    staged.longest = std::max(staged.longest, s.position + s.rows);
  }
  staged.longest = int32_t(std::bit_ceil(std::max(uint32_t(staged.longest), kShortest)));
  queue_->reserve(page_table_.size() * sizeof(int32_t) + sequences_.size() * sizeof(DeviceSequence) +
                  places_.size() * sizeof(RowPlace) + further_bytes + 64);
  const int32_t* table = queue_->stage(std::span<const int32_t>(page_table_));
  for (DeviceSequence& device : sequences_) {
    device.pages = table;
    const int64_t count = (int64_t(device.position) + device.rows + page_tokens - 1) / page_tokens;
    table += (count + kPageStep - 1) / kPageStep * kPageStep;
  }
  staged.sequences = queue_->stage(std::span<const DeviceSequence>(sequences_));
  staged.places = queue_->stage(std::span<const RowPlace>(places_));
  return staged;
}

void CudaBackend::store_kv(const StoreKvOp& op) {
  if (!has_pages(op.keys) || !has_pages(op.values)) return;
  const StagedSequences staged = stage_sequences(op.sequences, op.keys.shape[2]);
  Command command(CommandKind::kStore);
  StoreArgs& args = command.store;
  args.key = heads_of(op.key);
  args.value = heads_of(op.value);
  args.keys = pages_of(op.keys);
  args.values = pages_of(op.values);
  args.sequences = staged.sequences;
  args.places = staged.places;
  args.rows = staged.rows;
  args.kv_heads = int32_t(op.key.shape[1]);
  queue_->add(command);
}

void CudaBackend::attention(const AttentionOp& op) {
  if (!has_pages(op.keys) || !has_pages(op.values)) return;
  slopes_.clear();
  for (int64_t head = 0; op.alibi > 0 && head < op.query.shape[1]; ++head)
    slopes_.push_back(alibi_slope(op.alibi, op.query.shape[1], head));
  const std::span<const float> slopes(slopes_);
  const StagedSequences staged = stage_sequences(op.sequences, op.keys.shape[2], slopes.size_bytes());
  Command command(CommandKind::kAttention);
  AttentionArgs& args = command.attention;
  args.query = heads_of(op.query);
  args.out = heads_of(op.out);
  args.keys = pages_of(op.keys);
  args.values = pages_of(op.values);
  args.sequences = staged.sequences;
  args.places = staged.places;
  args.sinks = op.sinks;
  args.slopes = slopes.empty() ? nullptr : queue_->stage(slopes);
  args.rows = staged.rows;
  args.heads = int32_t(op.query.shape[1]);
  args.kv_heads = int32_t(op.keys.shape[1]);
  args.window = op.window;
  args.causal = op.causal;
  args.scale = op.scale;
  args.softcap = op.softcap;
  args.longest = staged.longest;
  args.sequence_count = int32_t(op.sequences.size());
  args.most_rows = staged.most_rows;
  queue_->add(command);
}

void CudaBackend::activate(const ActivateOp& op) {
  queue_->reserve(0);
  Command command(CommandKind::kActivate);
  ActivateArgs& args = command.activate;
  args.activation = op.activation;
  args.clamp = op.clamp;
  args.x = rows_of(op.x);
  if (op.factor.data != nullptr) args.factor = rows_of(op.factor);
  args.out = rows_of(op.out);
  args.rows = int32_t(op.x.shape[0]);
  args.width = int32_t(op.x.shape[1]);
  queue_->add(command);
}

void CudaBackend::binary(const BinaryOp& op) {
  queue_->reserve(0);
  Command command(CommandKind::kBinary);
  command.binary.multiply = op.kind == BinaryKind::kMultiply;
  const TensorView out = rank4(op.out);
  set_size(out.shape, command.binary.size);
  command.binary.a = strided_of(rank4(op.a));
  command.binary.b = strided_of(rank4(op.b));
  command.binary.out = strided_of(out);
  queue_->add(command);
}

void CudaBackend::scale(const TensorView& x, float factor, float softcap) {
  queue_->reserve(0);
  Command command(CommandKind::kScale);
  command.scale.x = rows_of(x);
  command.scale.rows = int32_t(x.shape[0]);
  command.scale.width = int32_t(x.shape[1]);
  command.scale.factor = factor;
  command.scale.softcap = softcap;
  queue_->add(command);
}

void CudaBackend::route(const RouteOp& op) {
  queue_->reserve(0);
  Command command(CommandKind::kRoute);
  RouteArgs& args = command.route;
  args.logits = rows_of(op.logits);
  args.selection_bias = op.selection_bias;
  args.ids = op.ids;
  args.weights = op.weights;
  args.rows = int32_t(op.logits.shape[0]);
  args.experts = int32_t(op.logits.shape[1]);
  args.sigmoid = op.kind == RouterKind::kSigmoid;
  args.used = op.used;
  args.groups = op.groups;
  args.groups_used = op.groups_used;
  args.group_top = op.group_top;
  args.normalise = op.normalise;
  args.scale = op.scale;
  queue_->add(command);
}

const WeightRef* CudaBackend::expert_table(std::span<const Weight> experts) {
  std::vector<WeightRef> refs;
  for (const Weight& weight : experts) refs.push_back(weight_ref(weight));
  Table& table = tables_[experts.data()];
  const size_t bytes = refs.size() * sizeof(WeightRef);
  if (table.host.size() != refs.size() || std::memcmp(table.host.data(), refs.data(), bytes) != 0) {
    auto memory = allocate_shared(queue_, bytes, "a table of experts");
    if (!memory) {
      queue_->stream().check(cudaErrorMemoryAllocation, "making a table of experts");
      return nullptr;
    }
    table.device = std::move(*memory);
    table.host = std::move(refs);
    copy_from_host(table.device.get(), table.host.data(), bytes);
  }
  return static_cast<const WeightRef*>(table.device.get());
}

void CudaBackend::experts(const ExpertsOp& op) {
  const WeightRef* table = expert_table(op.experts);
  queue_->reserve(0);
  Command command(CommandKind::kExperts);
  ExpertsArgs& args = command.experts;
  const int64_t pairs = int64_t(op.rows) * op.used;
  args.x = rows_of(op.x);
  args.out = rows_of(op.out);
  args.experts = table;
  args.bias = op.bias;
  args.ids = op.ids;
  args.pairs = int32_t(pairs);
  args.used = op.used;
  args.own_rows = op.x.shape[0] == pairs && op.used > 1;
  args.rows = int32_t(op.out.shape[1]);
  args.columns = int32_t(op.x.shape[1]);
  args.format = op.experts.front().view.format;
  args.in_planes = weight_ref(op.experts.front()).layout == Layout::kPlanes;
  queue_->add(command);
}

void CudaBackend::combine(const CombineOp& op) {
  queue_->reserve(0);
  Command command(CommandKind::kCombine);
  command.combine.x = rows_of(op.x);
  command.combine.out = rows_of(op.out);
  command.combine.weights = op.weights;
  command.combine.rows = int32_t(op.out.shape[0]);
  command.combine.used = op.used;
  command.combine.width = int32_t(op.out.shape[1]);
  queue_->add(command);
}

void CudaBackend::softmax(const TensorView& x, const TensorView& out) {
  queue_->reserve(0);
  Command command(CommandKind::kSoftmax);
  command.softmax.x = strided_of(rank4(x));
  command.softmax.out = strided_of(rank4(out));
  set_size(rank4(x).shape, command.softmax.size);
  queue_->add(command);
}

void CudaBackend::matmul(const TensorView& a, const TensorView& b, const TensorView& out) {
  queue_->reserve(0);
  const TensorView left = rank4(a), right = rank4(b), result = rank4(out);
  Command command(CommandKind::kMatmul);
  MatmulArgs& args = command.matmul;
  args.a = strided_of(left);
  args.b = strided_of(right);
  args.out = strided_of(result);
  args.batch = result.shape[0];
  args.channels = result.shape[1];
  args.rows = result.shape[2];
  args.inner = left.shape[3];
  args.columns = result.shape[3];
  queue_->add(command);
}

void CudaBackend::copy(const TensorView& from_view, const TensorView& to_view) {
  const auto is_float = [](Format format) {
    return format == Format::kF32 || format == Format::kF16 || format == Format::kBF16;
  };
  if (from_view.format != to_view.format && !(is_float(from_view.format) && is_float(to_view.format)))
    return copy_through_host(from_view, to_view);
  queue_->reserve(0);
  const TensorView from = rank4(from_view), to = rank4(to_view);
  Command command(CommandKind::kCopy);
  CopyArgs& args = command.copy;
  args.from = strided_of(from);
  args.to = strided_of(to);
  set_size(from.shape, args.size);
  args.from_format = from.format;
  args.to_format = to.format;
  args.block_bytes = format_info(from.format).block_bytes;
  args.size[3] /= format_info(from.format).block_elements;
  queue_->add(command);
}

// From quantised formats, which only happens outside of a model's steps.
void CudaBackend::copy_through_host(const TensorView& from, const TensorView& to) {
  const auto span_of = [](const TensorView& view) {  // bytes from the first element to the end of the last
    const FormatInfo& info = format_info(view.format);
    int64_t bytes = info.block_bytes;
    for (int i = 0; i < view.shape.rank; ++i) {
      const int64_t steps = i + 1 == view.shape.rank ? view.shape[i] / info.block_elements : view.shape[i];
      bytes += (steps - 1) * view.stride[size_t(i)];
    }
    return uint64_t(bytes);
  };
  if (from.shape.elements() == 0) return;
  std::vector<char> source(span_of(from)), target(span_of(to));
  copy_to_host(source.data(), from.data, source.size());
  copy_to_host(target.data(), to.data, target.size());
  TensorView host_from = from, host_to = to;
  host_from.data = source.data();
  host_to.data = target.data();
  copy_view(host_from, host_to);
  copy_from_host(to.data, target.data(), target.size());
}

void CudaBackend::random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) {
  queue_->reserve(0);
  Command command(CommandKind::kRandom);
  command.random.out = static_cast<float*>(out.data);
  command.random.count = out.shape.elements();
  command.random.seed = seed;
  command.random.lo = lo;
  command.random.range = hi - lo;
  command.random.below_hi = std::nextafterf(hi, lo);
  if (command.random.count > 0) queue_->add(command);
}

}  // namespace cuda

Result<std::shared_ptr<Backend>> make_cuda_backend(const CudaOptions& options) {
  METALLIC_ASSIGN(std::unique_ptr<Stream> stream, Stream::open(options.device));
  std::unique_ptr<Launcher> launcher = make_launcher(*stream, options.reproducible);
  METALLIC_ASSIGN(std::shared_ptr<Queue> queue, Queue::open(std::move(stream), std::move(launcher)));
  std::string name = options.reproducible ? "cuda-reproducible" : "cuda";
  return std::shared_ptr<Backend>(
      std::make_shared<CudaBackend>(std::move(name), std::move(queue), options.reproducible));
}

}  // namespace metallic
