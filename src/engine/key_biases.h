// What a KV cache of 8 bits or fewer loses of a model's keys.
#pragma once

#include <optional>
#include <string>

#include "metallic/format.h"
#include "metallic/gguf.h"

namespace metallic {

// A sentence for people where the keys of one of the first `layers` blocks have biases (blk.N.attn_k.bias) that are far
// above most of them, so that in `keys` the others lose their bits; none where that is not so or cannot be seen.
std::optional<std::string> warning_of_key_biases(const GgufFile& file, int layers, Format keys);

}  // namespace metallic
