// SentencePiece with any vocabulary on any text.
#include "tokenizer_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  metallic::TokenizerInput input = metallic::read_input(data, size);
  input.vocab.kind = metallic::TokenizerKind::kSentencePiece;
  input.vocab.merges.clear();
  metallic::exercise(std::move(input));
  return 0;
}
