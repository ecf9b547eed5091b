// The smallest model: a feed-forward network of linear layers (docs/mlp.md describes its files).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "metallic/gguf.h"
#include "model/weights.h"

namespace metallic {

struct MlpLayer {
  Weight weight;      // (outputs, inputs)
  DeviceVector bias;  // (outputs), or none
};

class Mlp {
 public:
  // Fails as load_weights does; also if the sizes of neighbouring layers do not fit.
  static Result<Mlp> load(const std::string& path, std::shared_ptr<Backend> backend);

  int64_t inputs() const { return layers_.front().weight.columns(); }
  int64_t outputs() const { return layers_.back().weight.rows(); }
  std::span<const MlpLayer> layers() const { return layers_; }

  // (rows, inputs) -> (rows, outputs), row-major. kIo if the file has been cut short since.
  Result<std::vector<float>> evaluate(std::span<const float> input) const;

 private:
  std::shared_ptr<const GgufFile> file_;
  std::shared_ptr<Backend> backend_;
  std::vector<MlpLayer> layers_;
  Activation hidden_ = Activation::kIdentity;
  Activation output_ = Activation::kIdentity;
  bool softmax_output_ = false;
};

}  // namespace metallic
