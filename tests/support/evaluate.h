// The outputs of a model for the tests that compare runs.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "engine/evaluator.h"

namespace metallic::testing {

// Outputs of all positions: the sequence in chunks.
inline Result<std::vector<float>> outputs(Evaluator& on, std::span<const TokenId> tokens, size_t chunk) {
  std::vector<float> all, part;
  on.rewind(0);
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    const size_t rows = std::min(chunk, tokens.size() - at);
    std::vector<int32_t> wanted(rows);
    for (size_t i = 0; i < rows; ++i) wanted[i] = int32_t(i);
    if (const Status status = on.feed(tokens.subspan(at, rows), wanted, part); !status)
      return tl::unexpected<Error>(status.error());
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace metallic::testing
