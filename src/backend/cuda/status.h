// CUDA's error codes as Results, each saying what was being done. One set of sentences for what a user can mend.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "base/error.h"

namespace metallic::cuda {

// Why there is no usable GPU.
tl::unexpected<Error> no_device(cudaError_t error);

// `doing`: "copying 12 bytes to cuda:0".
tl::unexpected<Error> device_error(cudaError_t error, const std::string& doing);

}  // namespace metallic::cuda
