// SentencePiece merges by score, with any vocabulary on any text.
#include "tokenizer_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return metallic::fuzz_tokenizer(metallic::TokenizerKind::kSentencePiece, data, size);
}
