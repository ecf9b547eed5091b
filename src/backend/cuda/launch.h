// The launchers: each puts the kernels of one operation on a stream. A failed launch is left in cudaGetLastError().
#pragma once

#include <cuda_runtime_api.h>

#include <span>

#include "backend/cuda/commands.h"
#include "backend/transfers.h"

namespace metallic::cuda {

void launch(const NormArgs& args, cudaStream_t stream);
void launch(const RopeArgs& args, cudaStream_t stream);
void launch(const StoreArgs& args, cudaStream_t stream);
void launch(const AttentionArgs& args, cudaStream_t stream);  // exact
void launch(const ActivateArgs& args, cudaStream_t stream);
void launch(const BinaryArgs& args, cudaStream_t stream);
void launch(const ScaleArgs& args, cudaStream_t stream);
void launch(const RouteArgs& args, cudaStream_t stream);
void launch(const CombineArgs& args, cudaStream_t stream);
void launch(const SoftmaxArgs& args, cudaStream_t stream);
void launch(const MatmulArgs& args, cudaStream_t stream);
void launch(const CopyArgs& args, cudaStream_t stream);
void launch(const RandomArgs& args, cudaStream_t stream);
void launch(const SampleArgs& args, cudaStream_t stream);

// A few host values to device memory, both at multiples of 16 bytes: they travel with the launch.
constexpr uint64_t kMostWritten = 2048;  // bytes
void launch_write(const void* values, uint64_t bytes, void* to, cudaStream_t stream);

// Either way, by the multiprocessors: the copy engine may be busy with weights for milliseconds.
void launch_rows(std::span<const RowCopy> copies, cudaStream_t stream);
void launch_wanted_rows(const RowCopy& copy, const int32_t* wanted, cudaStream_t stream);

// The device writes `number` to pinned memory, or waits until the host has written it, or more, there.
void launch_ask(uint64_t* asked, uint64_t number, cudaStream_t stream);
void launch_wait_for_answer(const uint64_t* answered, uint64_t number, cudaStream_t stream);

// Weights in Layout::kBlocks, any format, in float32.
void launch_blocks(const EmbedArgs& args, cudaStream_t stream);
void launch_blocks(const LinearArgs& args, cudaStream_t stream);
void launch_blocks(const ExpertsArgs& args, cudaStream_t stream);

// How fast the current device reads `bytes` of its memory.
cudaError_t time_reading(uint64_t bytes, double& bytes_per_second);
// And how fast it is cleared.
cudaError_t time_writing(uint64_t bytes, double& bytes_per_second);

}  // namespace metallic::cuda
