// The angles of rotary position embeddings, with all ways of making them fit longer contexts.
#pragma once

#include <vector>

#include "model/config.h"

namespace metallic {

struct RopeAngles {
  std::vector<float> frequencies;  // (dims / 2) radians per position
  float magnitude = 1;             // factor on the rotated elements
};

// `factors` divide the frequencies (dims / 2 of them, or none). `local`: of a layer with a window. `context`: the most
// positions of a sequence.
RopeAngles rope_angles(const RopeConfig& rope, const std::vector<float>& factors, bool local, int context);

}  // namespace metallic
