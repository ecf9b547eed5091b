// Takes tensors out of a file by name, checks their sizes, and remembers which, so that one nobody asked for is
// noticed.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "backend/backend.h"
#include "memory/residency.h"
#include "metallic/gguf.h"

namespace metallic {

// A float32 vector in the backend's memory, or none (data() is null).
struct DeviceVector {
  std::shared_ptr<const void> memory;
  int64_t size = 0;
  const float* data() const { return static_cast<const float*>(memory.get()); }
};

// Part of a dimension: `count` of `total`, from `first`. A fused tensor is loaded as its parts.
struct Part {
  int64_t first = 0, count = 0, total = 0;
};
inline Part whole(int64_t size) { return {0, size, size}; }

// What was loaded of a file, so that it need not be loaded again when the places of others change.
struct MatrixKey {
  int64_t tensor = 0;  // its index in the file
  int expert = -1;
  int64_t first = 0, rows = 0;
  bool plain = false;  // loaded for lookups
  auto operator<=>(const MatrixKey&) const = default;
};
using LoadedMatrices = std::map<MatrixKey, Weight>;

class TensorLoader {
 public:
  // `residency` may be null: then all weights stay. Matrices in `loaded`, if there is one, are taken from there, and
  // others added to it.
  TensorLoader(std::shared_ptr<const GgufFile> file, Backend& backend, const Residency* residency,
               LoadedMatrices* loaded = nullptr)
      : file_(std::move(file)), backend_(backend), residency_(residency), loaded_(loaded) {}

  const GgufFile& file() const { return *file_; }
  bool has(const std::string& name) const { return file_->find_tensor(name) != nullptr; }

  // Errors name the tensor: kNotFound if it is missing, kCorrupt if its size is another one.
  Result<Weight> matrix(const std::string& name, int64_t rows, int64_t columns) {
    return matrix(name, whole(rows), columns);
  }
  Result<Weight> matrix(const std::string& name, Part rows, int64_t columns);
  Result<Weight> lookup(const std::string& name, int64_t rows, int64_t columns);  // for embed() only
  Result<std::vector<Weight>> matrices(const std::string& name, int64_t count, int64_t rows,
                                       int64_t columns);  // of a rank-3 tensor
  Result<DeviceVector> vector(const std::string& name, int64_t size) { return vector(name, whole(size)); }
  Result<DeviceVector> vector(const std::string& name, Part part);
  Result<DeviceVector> table(const std::string& name, int64_t rows, int64_t columns);  // of rank 2, as one vector
  Result<std::vector<float>> host_vector(const std::string& name, int64_t size);
  // None if the file has none.
  Result<DeviceVector> optional_vector(const std::string& name, Part part);
  Result<DeviceVector> optional_vector(const std::string& name, int64_t size) {
    return optional_vector(name, whole(size));
  }

  Result<DeviceVector> upload(std::span<const float> values);  // numbers that stand elsewhere in the file

  // kUnsupported if the file has a tensor that was not asked for: computing without it would be silently wrong.
  Status check_all_used() const;

 private:
  Result<const TensorInfo*> find(const std::string& name, std::initializer_list<int64_t> size);
  Result<Weight> load(const TensorInfo& info, const MatrixKey& key, int64_t columns);
  MatrixKey key_of(const TensorInfo& info, int expert, int64_t first, int64_t rows, bool plain) const {
    return {&info - file_->tensors().data(), expert, first, rows, plain};
  }
  Result<DeviceVector> upload(const TensorInfo& info, Part part);

  std::shared_ptr<const GgufFile> file_;
  Backend& backend_;
  const Residency* residency_;
  LoadedMatrices* loaded_;
  std::unordered_set<std::string> used_;
};

}  // namespace metallic
