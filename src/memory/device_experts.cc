#include "memory/device_experts.h"

#include <algorithm>
#include <numeric>

#include "backend/host_experts.h"
#include "backend/strided.h"
#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

constexpr int64_t kFloat = sizeof(float);

// Whether the host multiplies by an expert.
bool is_of_host(const Weight& weight, bool few) {
  if (!is_streamed(weight)) return false;
  const StreamedMatrix& matrix = streamed_matrix(weight);
  return few || matrix.expert_piece >= 0 || matrix.slices.front().ring < 0;
}

}  // namespace

Result<float*> PinnedFloats::get(Transfers& transfers, HostWorker& worker, uint64_t count) {
  if (count > count_) worker.settle();
  return get(transfers, count);
}

Result<float*> PinnedFloats::get(Transfers& transfers, uint64_t count) {
  if (count > count_) {
    METALLIC_ASSIGN(memory_, transfers.allocate_pinned(count * sizeof(float)));
    count_ = count;
  }
  return static_cast<float*>(memory_.get());
}

const float* HostBiases::get(Backend& device, const float* bias, int64_t count) {
  std::vector<float>& values = values_[bias];
  if (values.empty()) {
    values.resize(size_t(count));
    device.copy_to_host(values.data(), bias, uint64_t(count * kFloat));
  }
  return values.data();
}

Status DeviceExperts::run(const ExpertsOp& op, bool few) {
  METALLIC_TRY(fetch_choice(op));
  if (ExpertUse* use = residency_.use()) use->count(op.experts, ids_);
  divide(op.experts, few);
  const bool on_host = std::any_of(host_ids_.begin(), host_ids_.end(), [](int32_t id) { return id >= 0; });
  const bool on_device = std::any_of(host_ids_.begin(), host_ids_.end(), [](int32_t id) { return id < 0; });
  const float* x = nullptr;
  float* out = nullptr;
  if (on_host) {  // x first: what the device does meanwhile comes behind it
    METALLIC_ASSIGN(x, ask_for_input(op));
    METALLIC_ASSIGN(out, pinned_out_.get(transfers_, uint64_t(op.out.shape[0] * op.out.shape[1])));
    transfers_.wait();
  }
  if (on_device && few) device_.experts(for_device(op));
  if (on_device && !few) METALLIC_TRY(run_sorted(op));
  if (!on_host) return {};
  transfers_.submit();
  ExpertsOp host = op;
  with_host_bias(host);
  METALLIC_TRY(run_on_host(host, x, out));
  bring_back(op, out);
  return {};
}

// All of it is called at once: the device goes on when the worker has answered.
Result<bool> DeviceExperts::run_network(const ExpertNetworkOp& op) {
  const Owners owners = owners_of(op);
  if (!owners.simple) return false;
  forget_choice();
  METALLIC_ASSIGN(const HandOver given, hand_over(op));
  const uint64_t number = transfers_.ask();
  worker_.add(number, [this, given] {
    if (worker_failure_) return;
    if (const Status status = work(given); !status) worker_failure_ = status.error();
  });
  if (owners.any_resident) {
    ExpertNetworkOp resident = op;
    if (!op.gate.experts.empty()) resident.gate = for_device(op.gate);
    resident.up = for_device(op.up);
    resident.down = for_device(op.down);
    device_.expert_network(resident);
  }
  transfers_.wait_for_answer(number);
  const int64_t bytes = op.down.out.shape[1] * kFloat;
  transfers_.copy_wanted_rows({given.out, op.down.out.data, bytes, op.down.out.stride[0], bytes, op.down.out.shape[0]},
                              given.wanted);
  return true;
}

Status DeviceExperts::take_failure() {
  if (!worker_failure_) return {};
  const Error failure = std::move(*worker_failure_);
  worker_failure_.reset();
  return tl::unexpected<Error>(failure);
}

DeviceExperts::Owners DeviceExperts::owners_of(const ExpertNetworkOp& op) {
  const auto [found, fresh] = owners_.try_emplace(op.up.experts.data());
  Owners& owners = found->second;
  if (!fresh) return owners;
  const std::span<const Weight> all[] = {op.up.experts, op.down.experts, op.gate.experts};
  for (size_t id = 0; id < op.up.experts.size(); ++id) {
    const bool host = is_of_host(op.up.experts[id], true);
    owners.any_resident |= !host;
    for (const std::span<const Weight> experts : all) {
      if (experts.empty()) continue;
      const bool of_host = is_of_host(experts[id], true);
      owners.simple &= of_host == host && (!of_host || streamed_matrix(experts[id]).expert_piece < 0);
    }
  }
  return owners;
}

// The choice and its input on their way to pinned memory.
Result<DeviceExperts::HandOver> DeviceExperts::hand_over(const ExpertNetworkOp& op) {
  HandOver given;
  given.op = op;
  for (ExpertsOp* each : {&given.op.gate, &given.op.up, &given.op.down}) with_host_bias(*each);
  const TensorView& x = op.up.x;
  const uint64_t pairs = uint64_t(op.up.rows) * uint64_t(op.up.used);
  METALLIC_ASSIGN(float* const to, pinned_x_.get(transfers_, worker_, uint64_t(x.shape[0] * x.shape[1])));
  METALLIC_ASSIGN(float* const ids, pinned_ids_.get(transfers_, worker_, pairs));
  METALLIC_ASSIGN(given.out, pinned_out_.get(transfers_, worker_, pairs * uint64_t(op.down.out.shape[1])));
  METALLIC_ASSIGN(float* const wanted, pinned_wanted_.get(transfers_, worker_, pairs));
  given.x = to;
  given.ids = reinterpret_cast<const int32_t*>(ids);
  given.wanted = reinterpret_cast<int32_t*>(wanted);
  const int64_t bytes = x.shape[1] * kFloat, id_bytes = int64_t(pairs * sizeof(int32_t));
  const RowCopy copies[] = {{x.data, to, x.stride[0], bytes, bytes, x.shape[0]},
                            {op.up.ids, ids, id_bytes, id_bytes, id_bytes, 1}};
  transfers_.copy_rows(copies);
  return given;
}

// In the worker's thread.
Status DeviceExperts::work(const HandOver& given) {
  const ExpertNetworkOp& op = given.op;
  set_choice(given.ids, op.up);
  if (ExpertUse* use = residency_.use())
    for (const ExpertsOp* each : {&op.gate, &op.up, &op.down}) use->count(each->experts, ids_);
  divide(op.up.experts, true);
  bool any = false;
  for (size_t i = 0; i < host_ids_.size(); ++i) any |= (given.wanted[i] = host_ids_[i] >= 0) != 0;
  return any ? run_network_on_host(op, given.x, given.out) : Status();
}

// Which choices are the host's.
void DeviceExperts::divide(std::span<const Weight> experts, bool few) {
  host_ids_ = ids_;
  for (int32_t& id : host_ids_)
    if (!is_of_host(experts[size_t(id)], few)) id = -1;
}

void DeviceExperts::with_host_bias(ExpertsOp& op) {
  if (op.bias != nullptr) op.bias = biases_.get(device_, op.bias, int64_t(op.experts.size()) * op.out.shape[1]);
}

// x on its way to pinned memory.
Result<const float*> DeviceExperts::ask_for_input(const ExpertsOp& op) {
  METALLIC_ASSIGN(float* to, pinned_x_.get(transfers_, uint64_t(op.x.shape[0] * op.x.shape[1])));
  const int64_t bytes = op.x.shape[1] * kFloat;
  transfers_.copy_rows({op.x.data, to, op.x.stride[0], bytes, bytes, op.x.shape[0]});
  return to;
}

// Which experts were chosen, once for all products with them.
Status DeviceExperts::fetch_choice(const ExpertsOp& op) {
  const size_t pairs = size_t(op.rows) * size_t(op.used);
  if (ids_from_ == op.ids && ids_.size() == pairs) return {};
  METALLIC_ASSIGN(float* to, pinned_ids_.get(transfers_, pairs));
  const int64_t bytes = int64_t(pairs) * int64_t(sizeof(int32_t));
  transfers_.copy_rows({op.ids, to, bytes, bytes, bytes, 1});
  transfers_.wait();
  set_choice(reinterpret_cast<const int32_t*>(to), op);
  ids_from_ = op.ids;
  return {};
}

void DeviceExperts::set_choice(const int32_t* ids, const ExpertsOp& op) {
  ids_.assign(ids, ids + size_t(op.rows) * size_t(op.used));
  // After a failure of the device, which is reported at the end of the step, they may be anything.
  for (int32_t& id : ids_) id = std::clamp(id, 0, int32_t(op.experts.size()) - 1);
}

// With the experts that the device has, for all choices: what it makes of those that it has not is written over.
ExpertsOp DeviceExperts::for_device(const ExpertsOp& op) {
  std::vector<Weight>& experts = stand_ins_[op.experts.data()];
  if (experts.empty()) {
    const auto resident =
        std::find_if(op.experts.begin(), op.experts.end(), [](const Weight& w) { return !is_streamed(w); });
    METALLIC_CHECK(resident != op.experts.end());
    for (const Weight& weight : op.experts) experts.push_back(is_streamed(weight) ? *resident : weight);
  }
  ExpertsOp whole = op;
  whole.experts = experts;
  return whole;
}

// to[i] = from[rows[i]].
Status DeviceExperts::gather(const TensorView& from, std::span<const int32_t> rows, const TensorView& to) {
  METALLIC_ASSIGN(const Weight table, device_.load_plain(from, nullptr));
  device_.embed({&table, rows, 1.0f, to});
  return {};
}

// The rows of each expert side by side, one product for each, and the results back to their places.
Status DeviceExperts::run_sorted(const ExpertsOp& op) {
  std::vector<int32_t> pairs, sources, places(ids_.size(), 0);
  for (size_t pair = 0; pair < ids_.size(); ++pair)
    if (host_ids_[pair] < 0) pairs.push_back(int32_t(pair));
  std::stable_sort(pairs.begin(), pairs.end(), [&](int32_t a, int32_t b) { return ids_[size_t(a)] < ids_[size_t(b)]; });
  for (size_t i = 0; i < pairs.size(); ++i) {
    sources.push_back(has_own_rows(op) ? pairs[i] : pairs[i] / op.used);
    places[size_t(pairs[i])] = int32_t(i);
  }
  const int64_t count = int64_t(pairs.size()), columns = op.x.shape[1], width = op.out.shape[1];
  TensorView sorted[2];
  for (const int i : {0, 1}) {
    const int64_t floats = count * (i == 0 ? columns : width);
    if (uint64_t(floats * kFloat) > sorted_bytes_[i]) {
      METALLIC_ASSIGN(sorted_memory_[i], device_.allocate(uint64_t(floats * kFloat)));
      sorted_bytes_[i] = uint64_t(floats * kFloat);
    }
    sorted[i] = TensorView::dense(sorted_memory_[i].get(), Format::kF32, {count, i == 0 ? columns : width});
  }
  METALLIC_TRY(gather(op.x, sources, sorted[0]));
  for (int64_t first = 0, end; first < count; first = end) {
    const int32_t expert = ids_[size_t(pairs[size_t(first)])];
    for (end = first + 1; end < count && ids_[size_t(pairs[size_t(end)])] == expert;) ++end;
    const auto part = [&](const TensorView& whole) {
      return TensorView::dense(float_at(whole, first), Format::kF32, {end - first, whole.shape[1]});
    };
    const LinearTarget target{&op.experts[size_t(expert)], op.bias ? op.bias + int64_t(expert) * width : nullptr,
                              part(sorted[1]), false};
    linear_({part(sorted[0]), {&target, 1}});
  }
  return gather(sorted[1], places, op.out);
}

// Those on disk, in the order of their use.
Status DeviceExperts::fetch_from_disk(const ExpertsOp& op, std::span<const int32_t> experts) {
  std::vector<int> pieces;
  for (const int32_t id : experts)
    if (id >= 0 && streamed_matrix(op.experts[size_t(id)]).expert_piece >= 0)
      pieces.push_back(streamed_matrix(op.experts[size_t(id)]).expert_piece);
  if (pieces.empty()) return {};
  std::sort(pieces.begin(), pieces.end());
  pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
  return residency_.experts()->expect(std::move(pieces));
}

// The choices of host_ids_, all else in host memory; no experts where the host has not all of its own whole in RAM.
ExpertsOp DeviceExperts::for_host(const ExpertsOp& op, const float* x, float* out) {
  const int64_t columns = op.x.shape[1], width = op.out.shape[1];
  ExpertsOp host = op;
  host.x = TensorView::dense(const_cast<float*>(x), Format::kF32, {op.x.shape[0], columns});
  host.out = TensorView::dense(out, Format::kF32, {op.out.shape[0], width});
  host.ids = host_ids_.data();
  host.experts = host_table(op);
  return host;
}

Status DeviceExperts::run_on_host(const ExpertsOp& op, const float* x, float* out) {
  ExpertsOp host = for_host(op, x, out);
  if (!host.experts.empty()) {  // all at once
    residency_.host()->experts(host);
    return {};
  }
  METALLIC_TRY(fetch_from_disk(op, host_ids_));
  host.experts = op.experts;
  experts_by_linear(host, inputs_, outputs_, [this](const LinearOp& linear_op) { multiply_on_host(linear_op); });
  if (!failure_) return {};
  const Error failure = std::move(*failure_);
  failure_.reset();
  return tl::unexpected<Error>(failure);
}

Status DeviceExperts::run_network_on_host(const ExpertNetworkOp& op, const float* x, float* out) {
  const int64_t pairs = int64_t(op.up.rows) * op.up.used, width = op.up.out.shape[1];
  const bool gated = !op.gate.experts.empty();
  for (std::vector<float>* values : {&host_gate_, &host_up_}) values->resize(size_t(pairs * width));
  // Rows of the device's choices are whatever they were: nobody reads what becomes of them.
  const TensorView gate = TensorView::dense(host_gate_.data(), Format::kF32, {pairs, width}),
                   up = TensorView::dense(host_up_.data(), Format::kF32, {pairs, width});
  ExpertNetworkOp host = op;
  if (gated) host.gate = for_host(op.gate, x, host_gate_.data());
  host.up = for_host(op.up, x, host_up_.data());
  host.activate.x = gated ? gate : up;
  if (gated) host.activate.factor = up;
  host.activate.out = gate;
  host.down = for_host(op.down, host_gate_.data(), out);
  if (gated == !host.gate.experts.empty() && !host.up.experts.empty() && !host.down.experts.empty()) {
    residency_.host()->expert_network(host);
    return {};
  }
  if (gated) METALLIC_TRY(run_on_host(op.gate, x, host_gate_.data()));
  METALLIC_TRY(run_on_host(op.up, x, host_up_.data()));
  residency_.host()->activate(host.activate);
  return run_on_host(op.down, host_gate_.data(), out);
}

// The experts as the host has them, where all that are not on the device are whole in RAM; in the place of the others,
// which the host is not asked for, stands one of those.
std::span<const Weight> DeviceExperts::host_table(const ExpertsOp& op) {
  const auto [found, fresh] = host_tables_.try_emplace(op.experts.data());
  std::vector<Weight>& table = found->second;
  if (!fresh) return table;
  const Weight* any = nullptr;
  for (const Weight& weight : op.experts) {
    if (!is_streamed(weight)) continue;
    const StreamedMatrix& matrix = streamed_matrix(weight);
    if (matrix.expert_piece >= 0 || matrix.slices.size() != 1) return table;
    any = &matrix.slices.front().host;
  }
  for (const Weight& weight : op.experts)
    table.push_back(is_streamed(weight) ? streamed_matrix(weight).slices.front().host : *any);
  return table;
}

// By one expert.
void DeviceExperts::multiply_on_host(LinearOp op) {
  if (failure_) return;
  LinearTarget target = op.targets.front();
  const StreamedMatrix& matrix = streamed_matrix(*target.weight);
  Weight from_disk;
  if (const int piece = matrix.expert_piece; piece >= 0) {
    const auto bytes = residency_.experts()->bring(piece);
    if (!bytes) {
      failure_ = bytes.error();
      return;
    }
    from_disk.view = target.weight->view;
    from_disk.view.data = const_cast<std::byte*>(*bytes);  // only read
    target.weight = &from_disk;
    op.targets = {&target, 1};
    return residency_.host()->linear(op);
  }
  const TensorView out = target.out;
  for (const StreamedMatrix::Slice& slice : matrix.slices) {
    target.weight = &slice.host;
    target.bias = op.targets.front().bias ? op.targets.front().bias + slice.first : nullptr;
    target.out = out;
    target.out.data = float_at(out, 0) + slice.first;
    target.out.shape.size[1] = slice.rows;
    residency_.host()->linear({op.x, {&target, 1}});
  }
}

// Neighbours in one go.
void DeviceExperts::bring_back(const ExpertsOp& op, const float* out) {
  const int64_t width = op.out.shape[1], bytes = width * kFloat;
  std::vector<RowCopy> copies;
  for (size_t first = 0, end; first < host_ids_.size(); first = end) {
    for (end = first + 1; end < host_ids_.size() && (host_ids_[end] < 0) == (host_ids_[first] < 0);) ++end;
    if (host_ids_[first] < 0) continue;
    copies.push_back({out + int64_t(first) * width, float_at(op.out, int64_t(first)), bytes, op.out.stride[0], bytes,
                      int64_t(end - first)});
  }
  transfers_.copy_rows(copies);
}

}  // namespace metallic
