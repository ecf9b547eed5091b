// The interactive chat of `metallic run`.
#pragma once

#include <string>

#include "cli/generation.h"
#include "metallic/engine.h"

namespace metallic::cli {

// Talks until /bye or the end of the input. An error of one answer is shown and the chat goes on.
Status run_chat(Engine& engine, const std::string& system_prompt, GenerationOptions options);

}  // namespace metallic::cli
