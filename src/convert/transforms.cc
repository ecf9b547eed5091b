#include "convert/transforms.h"

#include "base/error.h"
#include "base/printable.h"

namespace metallic::convert {
namespace {

Status permute_heads(const RuleMatch& match, int64_t heads, TensorPlan& plan) {
  const int64_t half = match.shape()[0] / heads / 2;
  return plan.add(match.to.front(), match.shape(), match.view().split(0, {heads, 2, half}).swap(1, 2));
}

Status stack(const RuleMatch& match, int64_t count, TensorPlan& plan) {
  if (match.number >= count) {
    return fail(ErrorCode::kCorrupt, "{}: the tensor {} is number {}; config.json says that there are {}",
                match.tensor->file->path(), printable(match.tensor->name(), 200), match.number, count);
  }
  return plan.add_part(match.to.front(), match.number, count, match.shape(), match.view());
}

}  // namespace

Status permute_query(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return permute_heads(match, dims['H'], plan);
}

Status permute_key(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return permute_heads(match, dims['K'], plan);
}

Status add_one(const RuleMatch& match, const Dims&, TensorPlan& plan) {
  return plan.add(match.to.front(), match.shape(), match.view(), 1.0f);
}

Status transpose_matrix(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  const std::vector<int64_t> shape = match.shape();
  if (shape.size() == 1) return copy_tensor(match, dims, plan);
  return plan.add(match.to.front(), {shape[1], shape[0]}, match.view().swap(0, 1));
}

Status split_halves(const RuleMatch& match, const Dims&, TensorPlan& plan) {
  std::vector<int64_t> shape = match.shape();
  const int axis = match.is_bias ? int(shape.size()) - 1 : int(shape.size()) - 2;
  const int64_t half = shape[size_t(axis)] / 2;
  shape[size_t(axis)] = half;
  METALLIC_TRY(plan.add(match.to[0], shape, match.view().slice(axis, 0, half)));
  return plan.add(match.to[1], shape, match.view().slice(axis, half, 2 * half));
}

Status stack_experts(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return stack(match, dims['E'], plan);
}

Status stack_query_heads(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return stack(match, dims['H'], plan);
}

Status stack_key_heads(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return stack(match, dims['K'], plan);
}

}  // namespace metallic::convert
