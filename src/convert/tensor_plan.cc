#include "convert/tensor_plan.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "base/printable.h"

namespace metallic::convert {
namespace {

// Where a tensor stands in the file: before the blocks (-1), in block n, or after them.
int64_t place_of(std::string_view name) {
  if (name.starts_with("blk.")) {
    int64_t block = 0;
    std::from_chars(name.data() + 4, name.data() + name.size(), block);
    return block;
  }
  return name.starts_with("output") || name.starts_with("cls") ? INT64_MAX : -1;
}

}  // namespace

int64_t PlannedTensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>());
}

std::vector<float> PlannedKey::values() const {
  std::vector<float> all(size_t(blocks * width));
  for (const auto& [block, row] : rows) row.read(0, width, &all[size_t(block * width)]);
  return all;
}

Result<PlannedTensor*> TensorPlan::create(const std::string& name, std::vector<int64_t> shape) {
  if (!index_.emplace(name, tensors_.size()).second)
    return fail(ErrorCode::kCorrupt, "two tensors of the checkpoint become {}", printable(name));
  PlannedTensor& tensor = tensors_.emplace_back();
  tensor.name = name;
  tensor.shape = std::move(shape);
  return &tensor;
}

Status TensorPlan::add(const std::string& name, std::vector<int64_t> shape, const WeightView& view, float add) {
  METALLIC_ASSIGN(PlannedTensor * tensor, create(name, std::move(shape)));
  METALLIC_CHECK(tensor->elements() == view.elements());
  tensor->parts.emplace(0, view);
  tensor->add = add;
  return {};
}

Status TensorPlan::add_values(const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
  METALLIC_ASSIGN(PlannedTensor * tensor, create(name, std::move(shape)));
  METALLIC_CHECK(tensor->elements() == int64_t(values.size()));
  tensor->values = std::move(values);
  return {};
}

Result<Mxfp4Source*> TensorPlan::mxfp4(const std::string& name, std::vector<int64_t> shape) {
  if (!has(name)) {
    METALLIC_ASSIGN(PlannedTensor * tensor, create(name, shape));
    tensor->mxfp4.emplace();
  }
  PlannedTensor& tensor = tensors_[index_.at(name)];
  if (!tensor.mxfp4 || tensor.shape != shape)
    return fail(ErrorCode::kCorrupt, "two tensors of the checkpoint become {}", printable(name));
  return &*tensor.mxfp4;
}

Status TensorPlan::add_mxfp4_codes(const std::string& name, const WeightView& codes) {
  METALLIC_CHECK(codes.rank() == 4 && codes.size(3) == 16);
  METALLIC_ASSIGN(Mxfp4Source * source, mxfp4(name, {codes.size(0), codes.size(1), 32 * codes.size(2)}));
  source->codes = codes;
  return {};
}

Status TensorPlan::add_mxfp4_scales(const std::string& name, const WeightView& scales) {
  METALLIC_CHECK(scales.rank() == 3);
  METALLIC_ASSIGN(Mxfp4Source * source, mxfp4(name, {scales.size(0), scales.size(1), 32 * scales.size(2)}));
  source->scales = scales;
  return {};
}

Status TensorPlan::add_part(const std::string& name, int64_t index, int64_t count, std::span<const int64_t> shape,
                            const WeightView& view) {
  METALLIC_CHECK(0 <= index && index < count);
  if (!has(name)) {
    std::vector<int64_t> whole = {count};
    whole.insert(whole.end(), shape.begin(), shape.end());
    METALLIC_ASSIGN(PlannedTensor * created, create(name, std::move(whole)));
    created->parts_wanted = count;
  }
  PlannedTensor& tensor = tensors_[index_.at(name)];
  METALLIC_CHECK(tensor.shape[0] == count);
  if (!tensor.parts.emplace(index, view).second)
    return fail(ErrorCode::kCorrupt, "two tensors of the checkpoint become part {} of {}", index, printable(name));
  return {};
}

Status TensorPlan::add_key_row(std::string_view key, int64_t block, int64_t blocks, const WeightView& row) {
  METALLIC_CHECK(0 <= block && block < blocks);
  auto found = std::ranges::find(keys_, key, &PlannedKey::key);
  if (found == keys_.end()) found = keys_.insert(found, {std::string(key), blocks, row.elements(), {}});
  METALLIC_CHECK(found->blocks == blocks && found->width == row.elements());
  if (!found->rows.emplace(block, row).second)
    return fail(ErrorCode::kCorrupt, "two tensors of the checkpoint become block {} of the key {}", block, key);
  return {};
}

Status TensorPlan::check_complete() const {
  for (const PlannedTensor& tensor : tensors_) {
    if (tensor.mxfp4 && !(tensor.mxfp4->codes && tensor.mxfp4->scales))
      return fail(ErrorCode::kNotFound, "{} needs two tensors, ..._blocks and ..._scales; the checkpoint lacks one",
                  tensor.name);
    const bool whole = !tensor.values.empty() || tensor.mxfp4 || tensor.parts_wanted == int64_t(tensor.parts.size());
    if (whole) continue;
    int64_t missing = 0;
    while (tensor.parts.count(missing) != 0) ++missing;
    return fail(ErrorCode::kNotFound, "{} has {} parts, and the checkpoint lacks the tensor for part {}", tensor.name,
                tensor.parts_wanted, missing);
  }
  return {};
}

std::vector<PlannedTensor> TensorPlan::take() {
  std::ranges::stable_sort(tensors_, {}, [](const PlannedTensor& tensor) { return place_of(tensor.name); });
  index_.clear();
  return std::move(tensors_);
}

}  // namespace metallic::convert
