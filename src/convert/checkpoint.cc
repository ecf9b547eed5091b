#include "convert/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/printable.h"
#include "convert/json_object.h"

namespace metallic::convert {
namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

// Files to open, each with the tensors that it must hold (none named: all that it has).
using Shards = std::map<std::string, std::set<std::string>>;

Result<Shards> read_index(const std::string& path) {
  METALLIC_ASSIGN(const JsonObject index, JsonObject::open(path));
  METALLIC_ASSIGN(const JsonObject map, index.object({"weight_map"}));
  Shards shards;
  for (const auto& [tensor, file] : map.json().items()) {
    if (!file.is_string())
      return fail(ErrorCode::kCorrupt, "{}: weight_map.{} is no file name", path, printable(tensor));
    const std::string name = file.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      return fail(ErrorCode::kCorrupt, "{}: the shard '{}' is no file of the same folder", path, printable(name));
    shards[name].insert(tensor);
  }
  return shards;
}

// "layers.2" before "layers.10".
bool natural_less(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      const size_t i0 = i, j0 = j;
      while (i < a.size() && digit(a[i])) ++i;
      while (j < b.size() && digit(b[j])) ++j;
      if (i - i0 != j - j0) return i - i0 < j - j0;
      if (const int order = a.substr(i0, i - i0).compare(b.substr(j0, j - j0)); order != 0) return order < 0;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
    }
  }
  return a.size() - i < b.size() - j;
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::string& folder) {
  const std::filesystem::path base(folder);
  std::error_code ignored;
  if (!std::filesystem::is_directory(base, ignored))
    return fail(ErrorCode::kNotFound, "{}: is no folder; give the folder that holds config.json", folder);
  Shards shards;
  if (std::filesystem::exists(base / kIndex, ignored)) {
    METALLIC_ASSIGN(shards, read_index((base / kIndex).string()));
  } else if (std::filesystem::exists(base / kWhole, ignored)) {
    shards[kWhole];
  } else {
    return fail(ErrorCode::kNotFound, "{}: has neither {} nor {}; only safetensors checkpoints can be converted",
                folder, kWhole, kIndex);
  }
  Checkpoint checkpoint;
  std::map<std::string_view, const SafetensorsFile*> owner;
  for (const auto& [name, wanted] : shards) {
    auto file = SafetensorsFile::open((base / name).string());
    if (!file) {
      if (file.error().code != ErrorCode::kNotFound) return tl::unexpected<Error>(file.error());
      return fail(ErrorCode::kNotFound, "{}: the shard {} is missing; {} lists it", folder, name, kIndex);
    }
    checkpoint.files_.push_back(std::make_unique<SafetensorsFile>(std::move(*file)));
    const SafetensorsFile* shard = checkpoint.files_.back().get();
    for (const std::string& tensor : wanted)
      if (shard->find(tensor) == nullptr)
        return fail(ErrorCode::kCorrupt, "{}: the tensor {} is missing; {} says that it is here", shard->path(),
                    printable(tensor), kIndex);
    for (const SafetensorsTensor& tensor : shard->tensors()) {
      if (const auto [at, added] = owner.emplace(tensor.name, shard); !added)
        return fail(ErrorCode::kCorrupt, "{}: the tensor {} is in {} too", shard->path(), printable(tensor.name),
                    at->second->path());
      checkpoint.tensors_.push_back({shard, &tensor});
    }
  }
  std::ranges::sort(checkpoint.tensors_, natural_less, &CheckpointTensor::name);
  return checkpoint;
}

Status Checkpoint::attach_block_scales(int64_t block_rows, int64_t block_columns) {
  constexpr std::string_view kEnding = "_scale_inv";
  std::map<std::string_view, const CheckpointTensor*> scales;
  for (const CheckpointTensor& tensor : tensors_)
    if (tensor.name().ends_with(".weight_scale_inv")) scales.emplace(tensor.name(), &tensor);
  std::vector<CheckpointTensor> weights;
  size_t used = 0;
  for (const CheckpointTensor& tensor : tensors_) {
    if (scales.count(tensor.name()) != 0) continue;
    weights.push_back(tensor);
    const auto found = scales.find(tensor.name() + std::string(kEnding));
    if (found == scales.end()) continue;
    const SafetensorsTensor& scale = *found->second->info;
    const auto blocks = [](uint64_t size, int64_t block) { return (size + uint64_t(block) - 1) / uint64_t(block); };
    const auto& shape = tensor.info->shape;
    const bool eight_bits =
        tensor.info->type == SafetensorsType::kF8E4M3 || tensor.info->type == SafetensorsType::kF8E5M2;
    const bool floats = scale.type == SafetensorsType::kF32 || scale.type == SafetensorsType::kBF16;
    if (!eight_bits || !floats || shape.size() != 2 || scale.shape.size() != 2 ||
        scale.shape[0] != blocks(shape[0], block_rows) || scale.shape[1] != blocks(shape[1], block_columns))
      return fail(ErrorCode::kCorrupt, "{}: the tensor {} does not have a scale for each {} x {} elements of {}",
                  found->second->file->path(), printable(scale.name, 200), block_rows, block_columns,
                  printable(tensor.name(), 200));
    weights.back().scales = {found->second->file, &scale, block_rows, block_columns};
    ++used;
  }
  if (used != scales.size())
    return fail(ErrorCode::kCorrupt, "{}: {} tensors of scales belong to no weight", files_.front()->path(),
                scales.size() - used);
  tensors_ = std::move(weights);
  return {};
}

Status Checkpoint::check_intact() const {
  for (const auto& file : files_) METALLIC_TRY(file->check_intact());
  return {};
}

}  // namespace metallic::convert
