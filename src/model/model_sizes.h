// What the planner wants to know of a model (memory/plan.h), from its file's header alone: no weight is read.
#pragma once

#include "memory/plan.h"
#include "metallic/engine.h"
#include "metallic/gguf.h"
#include "model/config.h"

namespace metallic {

struct SizeOptions {
  KvFormats kv_formats = {};
  bool repack = true;   // the CPU packs its weights
  int page_tokens = 1;  // of the KV cache
  int logit_rows = 16;  // that the backend computes at a time
  // Slices of blocks are a share of the model, so that cuts are fine, but large enough to be copied at full speed.
  uint64_t smallest_slice = uint64_t{1} << 20;
};

// One block for each attention, feed-forward part and expert, one for the embedding and one for the head, in the order
// of the layers.
Result<ModelSizes> model_sizes(const GgufFile& file, const Config& config, const SizeOptions& options);

}  // namespace metallic
