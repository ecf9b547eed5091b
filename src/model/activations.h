// The memory of one step's intermediate results: all float32, one row for each token of the batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace metallic {

// A (rows, width) and a (rows, count, width) view of floats.
TensorView row_view(float* data, int64_t rows, int64_t width);
TensorView head_view(float* data, int64_t rows, int64_t count, int64_t width);

// What is named after a stage is dead once the next stage has read it.
class Activations {
 public:
  static Result<Activations> create(const Config& config, Backend& backend, int max_rows);

  // What create() would take with so many rows through the head at a time; none if that is beyond all numbers.
  static std::optional<uint64_t> bytes_for(const Config& config, int max_rows, int output_rows);

  int max_rows() const { return max_rows_; }
  uint64_t bytes() const { return bytes_; }

  float* residual = nullptr;   // (rows, width)
  float* normed = nullptr;     // (rows, width): what a block reads
  float* ffn_input = nullptr;  // (rows, width): what the feed-forward part reads
  float* added = nullptr;      // (rows, width): what a block adds to the residual
  float* query = nullptr;      // (rows, heads * head_dim)
  float* key = nullptr;        // (rows, kv_heads * head_dim)
  float* value = nullptr;      // (rows, kv_heads * value_dim)
  float* attended = nullptr;   // (rows, heads * value_dim)
  float* gate = nullptr;       // (rows, widest feed-forward part)
  float* up = nullptr;         // likewise
  float* logits = nullptr;     // (output_rows(), vocab)
  int32_t* chosen = nullptr;   // (rows): tokens
  // Mixtures of experts only.
  float* router = nullptr;          // (rows, experts)
  float* expert_weights = nullptr;  // (rows, used)
  int32_t* expert_ids = nullptr;    // (rows, used)
  float* expert_output = nullptr;   // (rows * used, width)
  // Latent attention only.
  float* latent_query = nullptr;  // (rows, query rank)
  float* latent = nullptr;        // (rows, rank + rope)
  float* whole_query = nullptr;   // (rows, heads * (nope + rope))
  float* whole_values = nullptr;  // (rows, heads * (nope + value)), or (rows, heads * value)

  int output_rows() const { return output_rows_; }  // that go through the head at a time

 private:
  struct Part;
  static std::vector<Part> parts_of(const Config& config, int max_rows, int output_rows);

  float *expert_id_floats_ = nullptr, *chosen_floats_ = nullptr;  // where expert_ids and chosen are
  int max_rows_ = 0, output_rows_ = 0;
  uint64_t bytes_ = 0;
  std::shared_ptr<void> memory_;
};

}  // namespace metallic
