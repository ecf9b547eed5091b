// How attention is cut into work (attention.cc).
#pragma once

#include <cstdint>

#include "backend/batch.h"

namespace metallic::cpu {

inline constexpr int64_t kAttentionChunk = 256;  // positions

// The queries of the heads that share one KV head, for some rows of one sequence. Query number t is row first_row + t /
// group, head kv_head * group + t % group.
struct AttentionItem {
  const BatchSequence* sequence;
  int64_t kv_head, first_row, rows;
  int64_t begin, end;  // positions that any of the queries sees

  int64_t first_chunk() const { return begin / kAttentionChunk; }
  int64_t chunks() const { return (end - 1) / kAttentionChunk + 1 - first_chunk(); }
};

}  // namespace metallic::cpu
