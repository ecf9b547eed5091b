// Mixtures of experts on the host: choosing experts for each row, and giving each expert all of its rows at once.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/host_backend.h"
#include "backend/host_experts.h"
#include "backend/strided.h"

namespace metallic {
namespace {

// Best first; equal ones in the order of their numbers, so that every backend chooses the same.
void sort_best(std::vector<int32_t>& ids, size_t count, const float* scores) {
  count = std::min(count, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + ptrdiff_t(count), ids.end(),
                    [scores](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  ids.resize(count);
}

void probabilities(RouterKind kind, float* x, int64_t count) {
  if (kind == RouterKind::kSigmoid) {
    for (int64_t i = 0; i < count; ++i) x[i] = float(1.0 / (1.0 + std::exp(-double(x[i]))));
    return;
  }
  const float highest = *std::max_element(x, x + count);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(double(x[i]) - double(highest));
  for (int64_t i = 0; i < count; ++i) x[i] = float(std::exp(double(x[i]) - double(highest)) / sum);
}

// The experts that may be chosen: those of the best groups.
std::vector<int32_t> candidates(const RouteOp& op, const float* scores, int64_t experts) {
  std::vector<int32_t> ids;
  const int32_t size = int32_t(experts) / op.groups;
  std::vector<int32_t> groups(static_cast<size_t>(op.groups));
  std::iota(groups.begin(), groups.end(), 0);
  if (op.groups_used < op.groups) {
    std::vector<float> group_scores;
    for (int32_t group = 0; group < op.groups; ++group) {
      std::vector<float> best(scores + group * size, scores + (group + 1) * size);
      const int32_t top = std::min(op.group_top, size);
      std::partial_sort(best.begin(), best.begin() + top, best.end(), std::greater<>());
      group_scores.push_back(std::accumulate(best.begin(), best.begin() + top, 0.0f));
    }
    sort_best(groups, size_t(op.groups_used), group_scores.data());
  }
  for (const int32_t group : groups)
    for (int32_t i = 0; i < size; ++i) ids.push_back(group * size + i);
  return ids;
}

void route_row(const RouteOp& op, int64_t row, std::vector<float>& scores) {
  const int64_t experts = op.logits.shape[1];
  float* chances = float_at(op.logits, row);
  probabilities(op.kind, chances, experts);
  scores.assign(chances, chances + experts);
  if (op.selection_bias != nullptr)
    for (int64_t i = 0; i < experts; ++i) scores[size_t(i)] += op.selection_bias[i];
  std::vector<int32_t> chosen = candidates(op, scores.data(), experts);
  sort_best(chosen, size_t(op.used), scores.data());

  double sum = 0;
  for (const int32_t id : chosen) sum += double(chances[id]);
  if (op.kind == RouterKind::kSigmoid) sum += 1e-20;
  const double factor = double(op.scale) / (op.normalise ? sum : 1.0);
  for (int32_t i = 0; i < op.used; ++i) {
    op.ids[row * op.used + i] = chosen[size_t(i)];
    op.weights[row * op.used + i] = float(double(chances[chosen[size_t(i)]]) * factor);
  }
}

}  // namespace

void HostBackend::scale(const TensorView& x, float factor, float softcap) {
  pool_.parallel_for(x.shape[0], 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* values = float_at(x, row);
      for (int64_t i = 0; i < x.shape[1]; ++i) {
        const float scaled = factor == 0.0f ? 0.0f : values[i] * factor;
        values[i] = softcap > 0 ? softcap * std::tanh(scaled / softcap) : scaled;
      }
    }
  });
}

void HostBackend::route(const RouteOp& op) {
  constexpr int64_t kWorthAThread = 1 << 11;  // experts to judge
  const int64_t grain = std::max<int64_t>(1, kWorthAThread / op.logits.shape[1]);
  pool_.parallel_for(op.logits.shape[0], grain, [&](int64_t begin, int64_t end) {
    std::vector<float> scores;
    for (int64_t row = begin; row < end; ++row) route_row(op, row, scores);
  });
}

void HostBackend::experts(const ExpertsOp& op) {
  experts_by_linear(op, expert_rows_, expert_results_, [this](const LinearOp& linear_op) { linear(linear_op); });
}

void ExpertPairs::sort(const ExpertsOp& op) {
  const std::span<const int32_t> ids(op.ids, size_t(op.rows) * size_t(op.used));
  first.assign(op.experts.size() + 1, 0);
  for (const int32_t id : ids)
    if (id >= 0) ++first[size_t(id)];
  std::exclusive_scan(first.begin(), first.end(), first.begin(), 0);
  pairs.resize(size_t(first.back()));
  for (size_t pair = 0; pair < ids.size(); ++pair)
    if (ids[pair] >= 0) pairs[size_t(first[size_t(ids[pair])]++)] = int32_t(pair);
  // Each now is where the next one's begin.
  std::copy_backward(first.begin(), first.end() - 1, first.end());
  first.front() = 0;
}

void experts_by_linear(const ExpertsOp& op, std::vector<float>& inputs, std::vector<float>& outputs,
                       const std::function<void(const LinearOp&)>& linear) {
  const bool own_rows = has_own_rows(op);
  const int64_t columns = op.x.shape[1], width = op.out.shape[1];
  ExpertPairs sorted;
  sorted.sort(op);
  for (size_t expert = 0; expert < op.experts.size(); ++expert) {
    const int32_t* mine = sorted.pairs.data() + sorted.first[expert];
    const int64_t count = sorted.first[expert + 1] - sorted.first[expert];
    if (count == 0) continue;
    inputs.resize(size_t(count * columns));
    outputs.resize(size_t(count * width));
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(inputs.data() + i * columns, float_at(op.x, own_rows ? mine[i] : mine[i] / op.used),
                  size_t(columns) * sizeof(float));
    const LinearTarget target{&op.experts[expert], op.bias ? op.bias + int64_t(expert) * width : nullptr,
                              TensorView::dense(outputs.data(), Format::kF32, {count, width}), false};
    linear({TensorView::dense(inputs.data(), Format::kF32, {count, columns}), {&target, 1}});
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(float_at(op.out, mine[i]), outputs.data() + i * width, size_t(width) * sizeof(float));
  }
}

void HostBackend::combine(const CombineOp& op) {
  const int64_t width = op.out.shape[1];
  pool_.parallel_for(op.out.shape[0], 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int32_t i = 0; i < op.used; ++i) {
        const float weight = op.weights[row * op.used + i];
        const float* x = float_at(op.x, row * op.used + i);
        float* out = float_at(op.out, row);
        for (int64_t k = 0; k < width; ++k) out[k] += weight * x[k];
      }
  });
}

}  // namespace metallic
