// The weights of a model by their roles, checked and brought to the backend. What is optional is empty where the file
// has none.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "metallic/gguf.h"
#include "model/config.h"
#include "model/tensor_loader.h"

namespace metallic {

struct Norm {
  DeviceVector weight;  // (width)
  DeviceVector bias;    // (width), or none
  explicit operator bool() const { return weight.data() != nullptr; }
};

// A norm on the rows of Q or K, seen as (heads, width).
struct HeadNorm {
  DeviceVector weight;
  DeviceVector bias;  // like weight, or none
  int64_t heads = 0, width = 0;
  int64_t stride = 0;  // floats between the weights of two heads; 0: they share them
  explicit operator bool() const { return weight.data() != nullptr; }
};

// A linear layer.
struct Projection {
  Weight weight;
  DeviceVector bias;  // or none
  explicit operator bool() const { return weight.rows() > 0; }
};

// gate and up (inner, width), down (width, inner). Without a gate: down activation(up x).
struct FeedForward {
  Projection gate, up, down;
};

// A mixture of experts: the matrices of each (no gates where the feed-forward part has none), and one array of biases
// for all.
struct Experts {
  Projection router;            // (experts, width)
  DeviceVector selection_bias;  // (experts), or none
  std::vector<Weight> gate, up, down;
  DeviceVector gate_bias, up_bias, down_bias;
  DeviceVector output_bias;  // (width): added once to what all chosen experts give, or none
  FeedForward shared;        // an expert for all tokens, or none
  Weight shared_gate;        // (1, width): the shared expert counts sigmoid of this much, or all if none
  explicit operator bool() const { return bool(router); }
};

// The parts of latent attention. Either `key_value` or both of the last two.
struct LatentAttention {
  Weight query_down;             // (query rank, width), or none
  Norm query_norm;               // (query rank)
  Weight query;                  // (heads * (nope + rope), query rank or width)
  Weight key_value_down;         // (rank + rope, width)
  Norm key_value_norm;           // (rank)
  Weight key_value;              // (heads * (nope + value), rank)
  std::vector<Weight> key_up;    // each head: (rank, nope), from a query to the latent space
  std::vector<Weight> value_up;  // each head: (value, rank), from the latent space to a value
  explicit operator bool() const { return key_value_down.rows() > 0; }
};

struct LayerWeights {
  Norm attention_norm;           // before
  Projection query, key, value;  // (query_width, width), (key_width, width), (value_width, width)
  HeadNorm query_norm, key_norm;
  LatentAttention latent;        // instead of the three
  DeviceVector sinks;            // (heads), or none
  Projection attention_output;   // (width, heads * value_dim)
  Norm attention_post_norm;      // of what attention adds
  Norm attention_residual_norm;  // of the residual after attention
  Norm attention_second_norm;    // of that and the block's input again (jina-bert-v2 for code)
  Norm ffn_norm;                 // before
  FeedForward ffn;
  Experts experts;         // instead of it
  Norm ffn_post_norm;      // of what the feed-forward part adds
  Norm ffn_residual_norm;  // of the residual after it
};

struct Weights {
  Weight embedding;    // (vocab, width)
  Weight positions;    // (context, width): learned positions, or none
  Weight token_types;  // (types, width), of which the first is used, or none
  Norm embedding_norm;
  std::vector<LayerWeights> layers;
  Norm output_norm;
  Projection head;  // (vocab, width); the embedding where the file has no output.weight; none for an encoder
  // Divisors of the rope frequencies (dims / 2), on the host: always used, or above and up to the original context.
  std::vector<float> rope_factors, rope_factors_long, rope_factors_short;
};

// Loads all weights of the model in `file`; sets config.vocab. What `residency`, if there is one, is to bring for each
// use, is not loaded, and is being read when this returns. What is in `loaded` is taken from there, and the rest added.
Result<Weights> load_weights(std::shared_ptr<const GgufFile> file, Config& config, Backend& backend,
                             Residency* residency = nullptr, LoadedMatrices* loaded = nullptr);

// The first config.layers layers of it, the embedding and the head: for measuring.
Result<Weights> load_first_layers(std::shared_ptr<const GgufFile> file, Config& config, Backend& backend);

// The matrices that a step multiplies by, in that order; experts are in the order of their numbers.
std::vector<Weight*> order_of_use(Weights& weights);

}  // namespace metallic
