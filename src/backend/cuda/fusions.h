// What the commands behind a product do with its outputs: patterns that the kernels of products can take over.
#pragma once

#include <span>

#include "backend/cuda/commands.h"
#include "backend/cuda/queue.h"

namespace metallic::cuda {

inline bool same(const Rows& a, const Rows& b) { return a.data == b.data && a.stride == b.stride; }
inline bool same(const Rows& a, const Heads& b) { return a.data == b.data && a.stride == b.row_stride; }
inline bool is_aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }
// Whether rows can be read by 16 bytes.
inline bool is_aligned(const Rows& rows) { return is_aligned(rows.data) && rows.stride % 4 == 0; }

// Whether all targets lie in planes, and whether the kernel of FewArgs (fast.h) is for them.
bool is_planes(const LinearArgs& linear);
bool is_few(const LinearArgs& linear);

// activation(gate) * up, written over gate: targets up, gate.
bool is_gate(const LinearArgs& linear, const Command& next);

// residual = residual + out.
bool is_residual(const LinearArgs& linear, const Command& next, Rows& residual);

// Queries, keys and values; rope on the first two or on neither; keys and values to their pages, number by number.
struct QueryKeyValue {
  const RopeArgs* ropes[2];  // of queries and keys; both or none
  const StoreArgs* store;
  int widths[3];    // of a head
  size_t commands;  // behind the product
};
bool is_query_key_value(std::span<const Command> commands, QueryKeyValue& found);

// `count` counters that are zero between kernels; null after a failure, which the stream keeps.
int32_t* zeroed_counters(Scratch& scratch, int64_t count, Stream& stream);

}  // namespace metallic::cuda
