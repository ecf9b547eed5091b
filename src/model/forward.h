// The decoder: one step of it, for a batch of tokens of any number of sequences.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/batch.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace metallic {

// Owns the activations of one step; borrows weights and backend, which must outlive it.
class Decoder {
 public:
  // `max_rows`: the most tokens of one batch.
  static Result<Decoder> create(const Config& config, const Weights& weights, Backend& backend, int max_rows);

  int max_rows() const { return max_rows_; }
  uint64_t activation_bytes() const { return bytes_; }

  // Evaluates the batch, adds its keys and values to `cache`, and puts the logits of batch.logit_rows, in order, into
  // `logits` (logit_rows, vocab). Token ids below the vocabulary size, and page tables that cover each sequence, are
  // the caller's duty.
  Status run(const Batch& batch, const KvCache& cache, std::vector<float>& logits);

 private:
  Decoder(const Config& config, const Weights& weights, Backend& backend)
      : config_(config), weights_(weights), backend_(backend) {}
  void attention_block(int index, const Batch& batch, const KvCache& cache);
  void ffn_block(int index, int rows);
  void add_projection(const TensorView& input, const Weight& weight, const DeviceVector& bias,
                      const DeviceVector& post_norm, int rows);
  Status head(const Batch& batch, std::vector<float>& logits);

  const Config& config_;
  const Weights& weights_;
  Backend& backend_;
  int max_rows_ = 0;
  uint64_t bytes_ = 0;
  std::shared_ptr<void> memory_;
  // Activations, all float32 with max_rows rows. `normed`, `query` ... are dead once the next stage has read them.
  float* residual_ = nullptr;                  // (rows, width)
  float* normed_ = nullptr;                    // (rows, width)
  float* query_ = nullptr;                     // (rows, heads * head_dim)
  float* key_ = nullptr;                       // (rows, kv_heads * head_dim)
  float* value_ = nullptr;                     // (rows, kv_heads * value_dim)
  float* attended_ = nullptr;                  // (rows, heads * value_dim)
  float* gate_ = nullptr;                      // (rows, ff_width)
  float* up_ = nullptr;                        // (rows, ff_width)
  float* logits_ = nullptr;                    // (kLogitRows, vocab)
  std::vector<float> rope_frequencies_;        // (rope_dims / 2) of global layers
  std::vector<float> local_rope_frequencies_;  // the same for layers with a window
};

}  // namespace metallic
