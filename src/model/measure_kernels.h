// How fast a backend multiplies by the weights of a model, measured on a few of them: what the planner takes as the
// rates of decoding and of prompts.
#pragma once

#include <string>

#include "backend/backend.h"
#include "base/rate_cache.h"
#include "metallic/gguf.h"

namespace metallic {

struct KernelRates {
  double decode_bytes_per_second = 0;       // of weights as the backend keeps them, by one token
  double prompt_operations_per_second = 0;  // by many tokens
};

// The mean over the model's formats, each measured on rows of its largest matrix; well below a second a format. Known
// rates are taken from `cache`, under names that begin with `device`; new ones are put there. Without a backend, and
// for a model without matrices, what is not known is 0.
Result<KernelRates> measure_kernels(Backend* backend, const GgufFile& file, const std::string& device,
                                    RateCache& cache);

}  // namespace metallic
