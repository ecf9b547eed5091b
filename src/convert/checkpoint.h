// The tensors of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"
#include "safetensors/reader.h"

namespace metallic::convert {

struct CheckpointTensor {
  const SafetensorsFile* file = nullptr;
  const SafetensorsTensor* info = nullptr;

  const std::string& name() const { return info->name; }
  std::span<const std::byte> data() const { return file->data(*info); }
};

// All files of the folder, open. Immutable and movable; CheckpointTensors point into it.
class Checkpoint {
 public:
  // kNotFound names the file or shard that is missing, kCorrupt a tensor that the index lists and its shard lacks.
  static Result<Checkpoint> open(const std::string& folder);

  // kIo names a file that has been cut short since it was opened.
  Status check_intact() const;

  std::span<const CheckpointTensor> tensors() const { return tensors_; }  // sorted by name, numbers by value

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<CheckpointTensor> tensors_;
};

}  // namespace metallic::convert
