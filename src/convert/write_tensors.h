// Turning planned tensors into bytes, one at a time, their rows in parallel.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "convert/tensor_plan.h"
#include "metallic/format.h"

namespace metallic::convert {

// The format that a tensor gets. `wanted` none: as in the checkpoint. Vectors, norms, routers and position tables are
// F32; Q8_0 becomes F16 where rows are no multiple of its block.
Format choose_format(const PlannedTensor& tensor, std::optional<Format> wanted);

// All bytes of `tensor` in its format. `scratch` is resized to hold them; the result points into it or into the
// checkpoint.
std::span<const std::byte> make_bytes(const PlannedTensor& tensor, ThreadPool& pool, std::vector<std::byte>& scratch);

}  // namespace metallic::convert
