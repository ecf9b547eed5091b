// Answering one prompt on the command line: the text on standard output as it comes, figures on standard error.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "metallic/engine.h"

namespace metallic::cli {

struct GenerationOptions {
  SamplingOptions sampling;
  int max_tokens = -1;
  std::vector<std::string> stop;
  bool ignore_end = false;
  bool show_special = false;
  bool show_statistics = true;
};

// Streams the answer to `prompt`. Ctrl-C (under an InterruptGuard) ends it early, which is no error.
// `on_accepted`, if any, is called once prompt and options have been found good and before the work begins.
Result<Completion> stream_answer(Engine& engine, std::vector<TokenId> prompt, const GenerationOptions& options,
                                 const std::function<void()>& on_accepted = {});

// "prompt 12 tokens, 310 tokens/s; answer ...", and the most memory the process had, to standard error.
void print_statistics(const Completion& completion);

}  // namespace metallic::cli
