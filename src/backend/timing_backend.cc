#include "backend/timing_backend.h"

#include <fmt/format.h>

#include <set>
#include <utility>

namespace metallic {
namespace {

double bytes_of(const Weight& weight, int64_t rows) {
  return double(*format_bytes(weight.view.format, uint64_t(weight.columns()))) * double(rows);
}

std::string linear_name(const LinearOp& op) {
  std::string name = fmt::format("linear {} x", op.x.shape[1]);
  std::set<std::string> formats;
  const char* separator = " ";
  for (const LinearTarget& target : op.targets) {
    name += fmt::format("{}{}", std::exchange(separator, " + "), target.weight->rows());
    formats.insert(format_info(target.weight->view.format).name);
  }
  return fmt::format("{}, {}", name, fmt::join(formats, " "));
}

}  // namespace

double OperationTimes::between() const {
  double seconds = elapsed;
  for (const auto& [name, kind] : kinds) seconds -= kind.seconds;
  return seconds;
}

template <class Work>
OperationTime& TimingBackend::measure(const std::string& name, const Work& work) {
  const bool first = times_.kinds.empty();
  OperationTime& time = times_.kinds[name];
  const Clock::time_point start = Clock::now();
  if (first) first_ = start;
  work();
  const Clock::time_point end = Clock::now();
  time.seconds += std::chrono::duration<double>(end - start).count();
  times_.elapsed = std::chrono::duration<double>(end - first_).count();
  ++time.calls;
  return time;
}

void TimingBackend::linear(const LinearOp& op) {
  OperationTime& time = measure(linear_name(op), [&] { inner_->linear(op); });
  for (const LinearTarget& target : op.targets) {
    const Weight& weight = *target.weight;
    time.weight_bytes += bytes_of(weight, weight.rows());
    time.operations += 2.0 * double(op.x.shape[0]) * double(weight.rows()) * double(weight.columns());
  }
}

void TimingBackend::experts(const ExpertsOp& op) {
  const Weight& weight = op.experts.front();
  OperationTime& time =
      measure(fmt::format("experts {} x {}, {}", weight.columns(), weight.rows(), format_info(weight.view.format).name),
              [&] { inner_->experts(op); });
  const size_t chosen = size_t(op.rows) * size_t(op.used);
  const std::set<int32_t> used(op.ids, op.ids + chosen);
  time.weight_bytes += double(used.size()) * bytes_of(weight, weight.rows());
  time.operations += 2.0 * double(chosen) * double(weight.rows()) * double(weight.columns());
}

void TimingBackend::embed(const EmbedOp& op) {
  measure("embed", [&] { inner_->embed(op); });
}
void TimingBackend::norm(const NormOp& op) {
  measure("norm", [&] { inner_->norm(op); });
}
void TimingBackend::rope(const RopeOp& op) {
  measure("rope", [&] { inner_->rope(op); });
}
void TimingBackend::store_kv(const StoreKvOp& op) {
  measure("store_kv", [&] { inner_->store_kv(op); });
}
void TimingBackend::attention(const AttentionOp& op) {
  measure("attention", [&] { inner_->attention(op); });
}
void TimingBackend::activate(const ActivateOp& op) {
  measure("activate", [&] { inner_->activate(op); });
}
void TimingBackend::binary(const BinaryOp& op) {
  measure("binary", [&] { inner_->binary(op); });
}
void TimingBackend::scale(const TensorView& x, float factor, float softcap) {
  measure("scale", [&] { inner_->scale(x, factor, softcap); });
}
void TimingBackend::route(const RouteOp& op) {
  measure("route", [&] { inner_->route(op); });
}
void TimingBackend::combine(const CombineOp& op) {
  measure("combine", [&] { inner_->combine(op); });
}
void TimingBackend::copy(const TensorView& from, const TensorView& to) {
  measure("copy", [&] { inner_->copy(from, to); });
}
void TimingBackend::copy_to_host(void* to, const void* from, uint64_t bytes) {
  measure("copy to host", [&] { inner_->copy_to_host(to, from, bytes); });
}

}  // namespace metallic
