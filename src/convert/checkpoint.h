// The tensors of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"
#include "safetensors/reader.h"

namespace metallic::convert {

// Scales of a matrix in 8-bit floats: one for each block of rows x columns, in a tensor of their own.
struct BlockScales {
  const SafetensorsFile* file = nullptr;
  const SafetensorsTensor* info = nullptr;  // (rows / block rows, columns / block columns), rounded up
  int64_t block_rows = 0, block_columns = 0;
};

struct CheckpointTensor {
  const SafetensorsFile* file = nullptr;
  const SafetensorsTensor* info = nullptr;
  std::optional<BlockScales> scales = std::nullopt;  // the elements are multiplied by them

  const std::string& name() const { return info->name; }
  std::span<const std::byte> data() const { return file->data(*info); }
};

// All files of the folder, open. Immutable and movable; CheckpointTensors point into it.
class Checkpoint {
 public:
  // kNotFound names the file or shard that is missing, kCorrupt a tensor that the index lists and its shard lacks.
  static Result<Checkpoint> open(const std::string& folder);

  // FP8 checkpoints (DeepSeek-V3, Qwen3-FP8): takes every X.weight_scale_inv as the scales of X.weight. kCorrupt if the
  // two do not fit.
  Status attach_block_scales(int64_t block_rows, int64_t block_columns);

  // kIo names a file that has been cut short since it was opened.
  Status check_intact() const;

  std::span<const CheckpointTensor> tensors() const { return tensors_; }  // sorted by name, numbers by value

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<CheckpointTensor> tensors_;
};

}  // namespace metallic::convert
