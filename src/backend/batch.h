// What one step of the model evaluates: some tokens of some sequences. A plain struct.
#pragma once

#include <cstdint>
#include <vector>

namespace metallic {

// Rows of the batch that belong to one sequence, at consecutive positions.
struct BatchSequence {
  int32_t first_row = 0;
  int32_t rows = 0;
  int32_t position = 0;            // of the first row: how many tokens of the sequence are in the KV cache already
  const int32_t* pages = nullptr;  // page table: pages[p / page_tokens] holds position p; covers position + rows
};

struct Batch {
  std::vector<int32_t> tokens;     // (rows)
  std::vector<int32_t> positions;  // (rows)
  std::vector<BatchSequence> sequences;
  std::vector<int32_t> logit_rows;  // rows whose logits are wanted, ascending

  int rows() const { return int(tokens.size()); }
};

}  // namespace metallic
