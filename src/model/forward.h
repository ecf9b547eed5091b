// The model: one step of it, for a batch of tokens of any number of sequences.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/batch.h"
#include "backend/run_ahead.h"
#include "model/activations.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/rope.h"
#include "model/weights.h"

namespace metallic {

// What became of the rows whose next token was asked for.
struct Choices {
  std::vector<int32_t> ids;   // (logit_rows): a token, or kChooseOnHost
  std::vector<float> logits;  // of the rows to choose on the host, in order: (.., vocab)
};

// Owns the activations of one step; borrows config, weights and backend, which must outlive it.
class Decoder {
 public:
  // `max_rows`: the most tokens of one batch. `context`: the most positions of a sequence.
  static Result<Decoder> create(const Config& config, const Weights& weights, Backend& backend, int max_rows,
                                int context);

  int max_rows() const { return activations_.max_rows(); }
  uint64_t activation_bytes() const { return activations_.bytes(); }
  // Floats of one row of output: the vocabulary, or the width of an encoder's hidden state.
  int output_width() const { return config_.spec->encoder ? config_.width : config_.vocab; }

  // Evaluates the batch, adds its keys and values to `cache`, and puts the outputs of batch.logit_rows, in order, into
  // `output` (logit_rows, output_width()). Token ids below the vocabulary size, page tables that cover each sequence,
  // and whole sequences for a model that is not causal, are the caller's duty.
  Status run(const Batch& batch, const KvCache& cache, std::vector<float>& output);
  // The same, but chooses a token for each of batch.logit_rows, by `rows` (sampling.h), where the logits are.
  Status choose(const Batch& batch, const KvCache& cache, std::span<const SampleRow> rows, Choices& choices);

  // choose() in two halves, where the backend runs ahead, for up to most_ahead() rows of output: the step behind may be
  // started before this one is finished, and then its tokens are chosen_before(0), (1), … Up to RunAhead::kMostFetches
  // steps are under way. finish() is for the oldest; it gives no logits of rows to choose on the host.
  int most_ahead() const { return run_ahead_ ? std::min(RunAhead::kMostRows, activations_.output_rows()) : 0; }
  void start(const Batch& batch, const KvCache& cache, std::span<const SampleRow> rows);
  Status finish(Choices& choices);
  int under_way() const { return int(under_way_.size()); }

 private:
  Decoder(const Config& config, const Weights& weights, Backend& backend)
      : config_(config), weights_(weights), backend_(backend), run_ahead_(find_run_ahead(backend)) {}

  void embed(const Batch& batch);
  void attention_block(int index, const Batch& batch, const KvCache& cache);
  void project_query_key_value(const LayerWeights& layer, int index, const Batch& batch);
  void rotate(const TensorView& x, int index, const Batch& batch);
  void ffn_block(const LayerWeights& layer, int rows);
  void evaluate(const Batch& batch, const KvCache& cache);
  // The final hidden state of some rows, to activations_.normed.
  void collect_outputs(std::span<const int32_t> rows);
  LinearTarget head(int rows) const;
  Status output(const Batch& batch, std::vector<float>& output);
  // Chooses for rows `first` and on, as many as `rows`, of those that the batch wants.
  void sample(const Batch& batch, size_t first, std::span<const SampleRow> rows);

  // latent_attention.cc
  void latent_query_key_value(const LatentAttention& latent, int index, const Batch& batch);
  void latent_values(const LatentAttention& latent, int rows);
  // mixture.cc
  ActivateOp activation(const TensorView& gate, const TensorView& up, bool gated) const;
  void feed_forward(const FeedForward& ffn, int64_t inner, int rows, float* out, bool accumulate = false);
  void mixture(const Experts& experts, int rows, float* out);

  void normalise(const float* x, const Norm& norm, int64_t rows, int64_t width, float* out);
  void normalise_heads(float* x, const HeadNorm& norm, int64_t rows);
  void linear(const TensorView& x, const Weight& weight, const float* bias, const TensorView& out);
  bool adds_at_once(const Norm& post_norm) const;
  void add_to_residual(float* x, const Norm& post_norm, int rows);
  void normalise_residual(const Norm& norm, int rows);

  const Config& config_;
  const Weights& weights_;
  Backend& backend_;
  RunAhead* run_ahead_;            // or null
  std::vector<size_t> under_way_;  // rows of the steps that were started, the oldest first
  Activations activations_;
  RopeAngles rope_, local_rope_;
};

}  // namespace metallic
