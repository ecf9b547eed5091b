// Which tokens of which sequences make the next step. Pure: no model, no tensor.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/batch.h"
#include "metallic/tokenizer.h"

namespace metallic {

// What the scheduler needs to know of a sequence.
struct Progress {
  std::span<const TokenId> tokens;  // prompt and answer so far
  int computed = 0;                 // leading tokens whose keys and values are in the cache; < tokens.size()
  const int32_t* pages = nullptr;
};

struct Step {
  Batch batch;
  std::vector<int> sequences;  // batch.sequences[i] belongs to the progress[sequences[i]]
  std::vector<int>
      finished;  // batch.logit_rows[i] is the last token of progress[finished[i]]: it gets its next token from there
};

// At most `max_rows` tokens. Sequences with one token left (decoding) come first, so that no prompt makes them wait;
// prompts fill the rest in order, cut into chunks where they must. Not empty if `progress` is not.
Step next_step(std::span<const Progress> progress, int max_rows);

}  // namespace metallic
