// What a file cannot say of its architecture. All else (sizes, biases, which norms there are, a tied head) is read from
// the file.
#pragma once

#include <span>
#include <string_view>

#include "metallic/result.h"
#include "metallic/tensor.h"

namespace metallic {

struct Config;

struct ArchSpec {
  std::string_view name;  // general.architecture
  RopeStyle rope_style = RopeStyle::kHalves;
  Activation activation = Activation::kSilu;
  bool scale_embedding = false;  // the embedding is multiplied by sqrt(embedding length)
  // With a sliding window in the file, layer i looks at all positions if (i + 1) % global_every == 0, else at the
  // window only. 0: every layer has the window.
  int global_every = 0;
  float local_rope_base = 0;  // rope base of layers with a window if the file names none; 0: that of the others
  // Sets what follows from other values by a rule of this architecture (after the file has been read). May be null.
  void (*adjust)(Config& config) = nullptr;
};

// Each lives in its own file under arch/.
const ArchSpec& llama_spec();
const ArchSpec& qwen2_spec();
const ArchSpec& qwen3_spec();
const ArchSpec& gemma3_spec();

// The decoder architectures that are known, and one of them by name (kUnsupported lists them).
std::span<const ArchSpec* const> all_arch_specs();
Result<const ArchSpec*> find_arch_spec(std::string_view name);

}  // namespace metallic
