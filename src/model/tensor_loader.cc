#include "model/tensor_loader.h"

#include <fmt/format.h>

#include <array>

#include "base/check.h"
#include "base/error.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

// "(576, 49152)": sizes in the file's order, the first varies fastest.
std::string size_text(const uint64_t* size, int rank) {
  return fmt::format("({})", fmt::join(size, size + rank, ", "));
}

// Plain integers are no weights.
bool is_weight_format(Format format) {
  return format != Format::kI8 && format != Format::kI16 && format != Format::kI32 && format != Format::kI64;
}

}  // namespace

Result<const TensorInfo*> TensorLoader::find(const std::string& name, std::initializer_list<int64_t> size) {
  const TensorInfo* info = file_->find_tensor(name);
  std::array<uint64_t, 4> wanted = {1, 1, 1, 1};
  std::copy(size.begin(), size.end(), wanted.begin());
  const std::string wanted_text = size_text(wanted.data(), int(size.size()));
  if (info == nullptr)
    return fail(ErrorCode::kNotFound,
                "{}: the tensor {} of size {} is missing; the file is incomplete or of another architecture",
                file_->path(), name, wanted_text);
  if (info->size != wanted)
    return fail(ErrorCode::kCorrupt, "{}: the tensor {} has size {}; the metadata ask for {}", file_->path(), name,
                size_text(info->size.data(), info->rank), wanted_text);
  if (!is_weight_format(info->format))
    return fail(ErrorCode::kUnsupported, "{}: the tensor {} has the type {}, which cannot hold weights", file_->path(),
                name, format_info(info->format).name);
  used_.insert(name);
  return info;
}

Result<Weight> TensorLoader::matrix(const std::string& name, Part rows, int64_t columns) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {columns, rows.total}));
  METALLIC_CHECK(rows.first >= 0 && rows.first + rows.count <= rows.total);
  if (residency_ && residency_->brings(*info)) return residency_->matrix(*info, -1, rows.first, rows.count, columns);
  return load(*info, key_of(*info, -1, rows.first, rows.count, false), columns);
}

Result<Weight> TensorLoader::lookup(const std::string& name, int64_t rows, int64_t columns) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {columns, rows}));
  if (residency_ && residency_->brings(*info)) return residency_->matrix(*info, -1, 0, rows, columns);
  return load(*info, key_of(*info, -1, 0, rows, true), columns);
}

// Where the backend has made its own copy and drops the owner, the file's bytes are let go.
Result<Weight> TensorLoader::load(const TensorInfo& info, const MatrixKey& key, int64_t columns) {
  if (loaded_ != nullptr)
    if (const auto found = loaded_->find(key); found != loaded_->end()) return found->second;
  const size_t row_bytes = size_t(*format_bytes(info.format, uint64_t(columns)));
  const size_t bytes = row_bytes * size_t(key.rows);
  // Never written: a Weight is only read.
  auto* data = const_cast<std::byte*>(file_->tensor_data(info).data()) + row_bytes * size_t(key.first);
  const TensorView view = TensorView::dense(data, info.format, {key.rows, columns});
  const auto release = [file = file_, &info, bytes](std::byte* from) { file->release(info, {from, bytes}); };
  METALLIC_ASSIGN(Weight weight, key.plain ? backend_.load_plain(view, file_)
                                           : backend_.load_weight(view, std::shared_ptr<const void>(data, release)));
  if (loaded_ != nullptr) loaded_->emplace(key, weight);
  return weight;
}

Result<std::vector<Weight>> TensorLoader::matrices(const std::string& name, int64_t count, int64_t rows,
                                                   int64_t columns) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {columns, rows, count}));
  std::vector<Weight> result;
  for (int64_t i = 0; i < count; ++i) {
    if (residency_ && residency_->brings(*info, int(i))) {
      result.push_back(residency_->matrix(*info, int(i), i * rows, rows, columns));
      continue;
    }
    METALLIC_ASSIGN(Weight weight, load(*info, key_of(*info, int(i), i * rows, rows, false), columns));
    result.push_back(std::move(weight));
  }
  return result;
}

Result<std::vector<float>> TensorLoader::host_vector(const std::string& name, int64_t size) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {size}));
  std::vector<float> values(static_cast<size_t>(size));
  dequantize_row(info->format, file_->tensor_data(*info).data(), size, values.data());
  return values;
}

Result<DeviceVector> TensorLoader::upload(const TensorInfo& info, Part part) {
  std::vector<float> values(info.elements());
  dequantize_row(info.format, file_->tensor_data(info).data(), int64_t(values.size()), values.data());
  return upload(std::span<const float>(values).subspan(size_t(part.first), size_t(part.count)));
}

Result<DeviceVector> TensorLoader::upload(std::span<const float> values) {
  METALLIC_ASSIGN(std::shared_ptr<void> memory, backend_.allocate(values.size_bytes()));
  backend_.copy_from_host(memory.get(), values.data(), values.size_bytes());
  return DeviceVector{std::move(memory), int64_t(values.size())};
}

Result<DeviceVector> TensorLoader::vector(const std::string& name, Part part) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {part.total}));
  return upload(*info, part);
}

Result<DeviceVector> TensorLoader::table(const std::string& name, int64_t rows, int64_t columns) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {columns, rows}));
  return upload(*info, whole(rows * columns));
}

Result<DeviceVector> TensorLoader::optional_vector(const std::string& name, Part part) {
  if (!has(name)) return DeviceVector{};
  return vector(name, part);
}

Status TensorLoader::check_all_used() const {
  for (const TensorInfo& info : file_->tensors()) {
    if (used_.contains(std::string(info.name))) continue;
    return fail(ErrorCode::kUnsupported,
                "{}: the tensor {} has no role in this architecture; computing without it would give wrong results",
                file_->path(), info.name);
  }
  return {};
}

}  // namespace metallic
