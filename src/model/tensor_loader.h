// Takes tensors out of a file by name, checks their sizes, and remembers which, so that one nobody asked for is
// noticed.
#pragma once

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

class TensorLoader {
 public:
  // `residency` may be null: then all weights stay.
  TensorLoader(std::shared_ptr<const GgufFile> file, Backend& backend, const Residency* residency)
      : file_(std::move(file)), backend_(backend), residency_(residency) {}

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
  Result<Weight> load(const TensorInfo& info, std::byte* data, int64_t rows, int64_t columns);
  Result<DeviceVector> upload(const TensorInfo& info, Part part);

  std::shared_ptr<const GgufFile> file_;
  Backend& backend_;
  const Residency* residency_;
  std::unordered_set<std::string> used_;
};

}  // namespace metallic
