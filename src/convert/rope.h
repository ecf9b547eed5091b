// Rotary position embedding as config.json describes it, in the old keys (rope_theta, rope_scaling) and the new
// (rope_parameters), and what becomes of it in GGUF.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "convert/json_object.h"
#include "convert/key_writer.h"
#include "convert/tensor_plan.h"

namespace metallic::convert {

struct Rope {
  std::string type = "default";       // default, linear, dynamic, yarn, llama3, longrope (or su)
  std::optional<double> theta;        // of layers that see everything
  std::optional<double> local_theta;  // of layers with a window
  std::optional<double> partial;      // share of a head that is rotated
  std::optional<JsonObject> scaling;  // holds the numbers of `type`
  int64_t context = 0;                // max_position_embeddings; 0 if unknown
  int64_t original_context = 0;       // before scaling; 0 if unknown
};

// kUnsupported lists the known types.
Result<Rope> read_rope(const JsonObject& config);

// rope.freq_base*, rope.scaling.*
Status write_rope_keys(const Rope& rope, KeyWriter& keys);

// rope_freqs.weight for type llama3: divisors of the frequencies of a head of `head_dim`. Nothing for other types.
Status add_llama3_factors(const Rope& rope, int64_t head_dim, TensorPlan& plan);

// rope_factors_long.weight and rope_factors_short.weight for long rope over `rope_dims` dimensions, and the key
// rope.scaling.attn_factor. Nothing for other types.
Status add_long_rope_factors(const Rope& rope, int64_t rope_dims, TensorPlan& plan);
Status write_long_rope_keys(const Rope& rope, KeyWriter& keys);

}  // namespace metallic::convert
