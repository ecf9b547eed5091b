// Measuring an importance matrix: a text through the model, and what went into every matrix.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "metallic/tokenizer.h"
#include "model/importance.h"

namespace metallic {

struct ImportanceOptions {
  std::string model_path;
  std::string backend = "cpu";
  int threads = 0;                                     // 0: one for each core
  int context = 512;                                   // tokens of one chunk; each chunk is evaluated on its own
  int chunks = 0;                                      // the most to evaluate; 0: all
  std::string dataset;                                 // the name of the text, for the file
  std::function<bool(int done, int chunks)> on_chunk;  // false stops with kCancelled
};

// The head is left out: its importance helps no one. kInvalidArgument if the text is shorter than one chunk.
Result<ImportanceMatrix> collect_importance(std::string_view text, const ImportanceOptions& options);

}  // namespace metallic
