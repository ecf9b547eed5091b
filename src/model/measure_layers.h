// How fast a backend runs layers of a model, measured on its first ones with all that belongs to them (norms,
// attention, waking threads, launches): what the planner takes where no layer is shared between processor and GPU.
#pragma once

#include <functional>

#include "backend/backend.h"
#include "memory/plan.h"
#include "metallic/gguf.h"
#include "model/config.h"

namespace metallic {

// All 0 where it could not be measured: memory is short, the model reads a text whole, or has learned few positions.
struct LayerRates {
  double decode_bytes_per_second = 0;            // of the weights of layers, by one token with little before it
  double head_bytes_per_second = 0;              // of the head
  double prompt_operations_per_second = 0;       // of layers, by kUsualStep tokens, attention not counted
  double long_prompt_operations_per_second = 0;  // of a GPU, by those that follow in a step of four times as many
  double attention_bytes_per_second = 0;         // of keys and values, by one token
  double attention_operations_per_second = 0;    // by many tokens
};

// Loads the first layers of the file, as many as no cache holds, and the head, and runs steps of them; on a CPU of two
// cores some seconds. `sizes` are those of weights as the backend has them.
Result<LayerRates> measure_layers(std::shared_ptr<Backend> backend, std::shared_ptr<const GgufFile> file,
                                  const Config& config, const ModelSizes& sizes);

// Bytes of weights a second that products of one token read in such layers, without all that stands between them: what
// a processor does beside a GPU. `before` is called when all is loaded. 0 where it could not be measured.
Result<double> measure_products(std::shared_ptr<Backend> host, std::shared_ptr<const GgufFile> file,
                                const Config& config, const ModelSizes& sizes, const std::function<void()>& before);

}  // namespace metallic
