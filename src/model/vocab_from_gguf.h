// The bridge from a model file to the tokenizer, which knows no files.
#pragma once

#include "metallic/gguf.h"
#include "metallic/tokenizer.h"

namespace metallic {

// The vocabulary in the file's tokenizer.ggml.* metadata, with the customary defaults where a key is absent. kNotFound
// or kCorrupt for what is missing or of the wrong type, kUnsupported for a tokenizer that is neither "gpt2" nor
// "llama".
Result<Vocab> vocab_from_gguf(const GgufFile& file);

}  // namespace metallic
