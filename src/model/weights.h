// The weights of a decoder: which tensor of the file plays which role, checked and brought to the backend.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "backend/backend.h"
#include "metallic/gguf.h"
#include "model/config.h"

namespace metallic {

// A float32 vector in the backend's memory, or none (data() is null).
struct DeviceVector {
  std::shared_ptr<const void> memory;
  int64_t size = 0;
  const float* data() const { return static_cast<const float*>(memory.get()); }
};

struct LayerWeights {
  DeviceVector attention_norm;  // (width)
  Weight query, key, value;     // (query_width, width), (key_width, width), (value_width, width)
  DeviceVector query_bias, key_bias, value_bias;
  DeviceVector query_norm, key_norm;  // (head_dim), or none
  Weight attention_output;            // (width, heads * value_dim)
  DeviceVector attention_output_bias;
  DeviceVector attention_post_norm;  // (width), or none
  DeviceVector ffn_norm;             // (width)
  Weight gate, up, down;             // (ff_width, width) twice, (width, ff_width)
  DeviceVector gate_bias, up_bias, down_bias;
  DeviceVector ffn_post_norm;  // (width), or none
};

struct Weights {
  Weight embedding;  // (vocab, width)
  std::vector<LayerWeights> layers;
  DeviceVector output_norm;  // (width)
  Weight head;               // (vocab, width); the embedding where the file has no output.weight
  DeviceVector head_bias;
  std::vector<float> rope_factors;  // (rope_dims / 2) divisors of the rope frequencies (Llama 3), or empty; on the host
};

// Takes tensors out of a file by name and remembers which, so that one nobody asked for is noticed.
class TensorLoader {
 public:
  TensorLoader(std::shared_ptr<const GgufFile> file, Backend& backend) : file_(std::move(file)), backend_(backend) {}

  bool has(const std::string& name) const { return file_->find_tensor(name) != nullptr; }
  // Errors name the tensor: kNotFound if it is missing, kCorrupt if its shape is another one.
  Result<Weight> matrix(const std::string& name, int64_t rows, int64_t columns);
  Result<DeviceVector> vector(const std::string& name, int64_t size);
  Result<DeviceVector> optional_vector(const std::string& name, int64_t size);  // none if the file has none
  Result<std::vector<float>> host_vector(const std::string& name, int64_t size);
  // kUnsupported if the file has a tensor that was not asked for: computing without it would be silently wrong.
  Status check_all_used() const;

 private:
  Result<const TensorInfo*> find(const std::string& name, std::initializer_list<int64_t> size);

  std::shared_ptr<const GgufFile> file_;
  Backend& backend_;
  std::unordered_set<std::string> used_;
};

// Loads all weights of the decoder in `file`; sets config.vocab.
Result<Weights> load_weights(std::shared_ptr<const GgufFile> file, Config& config, Backend& backend);

}  // namespace metallic
