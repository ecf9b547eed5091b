// Tiny models with outside results (tests/data/models/README.md), and comparing with them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/npy.h"
#include "metallic/gguf.h"

namespace metallic::testing {

inline std::string model_path(const std::string& file) {
  return std::string(METALLIC_SOURCE_DIR) + "/tests/data/models/" + file;
}

template <class T>
std::vector<T> read_array(const std::string& path) {
  auto array = read_npy(path);
  EXPECT_TRUE(array) << (array ? "" : array.error().message);
  if (!array) return {};
  const auto values = array->as<T>();
  EXPECT_TRUE(values) << path;
  return values ? std::vector<T>(values->begin(), values->end()) : std::vector<T>();
}

// ||a - b|| / ||b||
inline double relative_l2(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    norm += double(b[i]) * double(b[i]);
  }
  return std::sqrt(difference / norm);
}

// A copy of a GGUF file with changes, in a temporary folder; removed with the object.
class ChangedFile {
 public:
  struct Tensor {
    std::string name;
    Format format;
    std::vector<uint64_t> size;
    std::vector<std::byte> data;
  };
  // `change` may edit the tensors and add metadata.
  ChangedFile(const std::string& from, const std::function<void(GgufWriter&, std::vector<Tensor>&)>& change) {
    static int counter = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("metallic-changed-" + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".gguf"))
                .string();
    auto file = GgufFile::open(from);
    EXPECT_TRUE(file) << (file ? "" : file.error().message);
    GgufWriter writer;
    for (const MetadataEntry& entry : file->metadata()) writer.copy(entry.key, entry.value);
    std::vector<Tensor> tensors;
    for (const TensorInfo& info : file->tensors()) {
      const auto data = file->tensor_data(info);
      tensors.push_back({std::string(info.name),
                         info.format,
                         {info.size.begin(), info.size.begin() + info.rank},
                         {data.begin(), data.end()}});
    }
    change(writer, tensors);
    for (const Tensor& tensor : tensors) EXPECT_TRUE(writer.add_tensor(tensor.name, tensor.format, tensor.size));
    const Status status = writer.write(path_, [&](size_t index, uint64_t) -> Result<std::span<const std::byte>> {
      return std::span<const std::byte>(tensors[index].data);
    });
    EXPECT_TRUE(status) << (status ? "" : status.error().message);
  }
  ~ChangedFile() { std::filesystem::remove(path_); }
  ChangedFile(const ChangedFile&) = delete;
  ChangedFile& operator=(const ChangedFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline ChangedFile::Tensor& tensor_named(std::vector<ChangedFile::Tensor>& tensors, const std::string& name) {
  for (ChangedFile::Tensor& tensor : tensors)
    if (tensor.name == name) return tensor;
  ADD_FAILURE() << "no tensor " << name;
  return tensors.front();
}

}  // namespace metallic::testing
