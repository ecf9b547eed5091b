// How the next token of a row of logits is chosen, as data: what the engine's chain of samplers
// (engine/samplers/) comes to for one row at one moment. A backend that has sample() does it where the logits are.
#pragma once

#include <cstdint>
#include <span>

#include "metallic/tensor.h"

namespace metallic {

struct LinearTarget;

// One logit before anything else happens to it: times or divided by `repeat` (by its sign), minus `minus`, after `bias`
// was added.
struct LogitChange {
  int32_t id;
  float bias;       // added first
  int32_t count;    // how often it is among the recent tokens; 0: no penalty
  int32_t padding;  // all bytes count
};

// The steps in their order; each is left out at the value given. Where several logits are equal, the lower id is
// better.
struct SampleRow {
  std::span<const LogitChange> changes;  // each id once
  float repeat = 1.0f;                   // of the ids with a count: divides positive logits, multiplies negative ones
  float frequency = 0, presence = 0;     // of those: count * frequency + presence is subtracted
  int32_t top_k = 0;                     // 0: all
  float top_p = 1.0f;                    // 1: all
  float log_min_p = 0;                   // log of min-p, < 0; 0: all
  float temperature = 0;                 // 0: the best, and the four above are not looked at
  double unit = 0;                       // the random number, [0, 1)
  bool on_host = false;                  // not here: what was asked for cannot be said with these words
};

// What sample() gives instead of a token: the row is not for this backend, or its numbers are unusable, or more of them
// would have to be put in order than it does. The logits are there, unchanged, for the host to choose from.
constexpr int32_t kChooseOnHost = -1;

// ids[i] = the choice for row i of `logits`. With a head, logits = scale(head(x)) are computed first; a backend that
// needs them no more than this may leave them unwritten where every row is a plain choice of the best.
struct SampleOp {
  TensorView x;              // (rows, k), f32; not looked at without a head
  const LinearTarget* head;  // its `out` is `logits`; or null: they are there
  float scale = 1.0f;        // of the logits of the head
  float softcap = 0.0f;      // likewise; 0: none
  TensorView logits;         // (rows, vocabulary), f32
  std::span<const SampleRow> rows;
  int32_t* ids;  // (rows), in the backend's memory
};

}  // namespace metallic
