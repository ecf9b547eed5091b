// WordPiece, unigram and longest match with any vocabulary, and any character map, on any text.
#include <utility>

#include "tokenizer_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  metallic::TokenizerInput input = metallic::read_input(data, size);
  if (input.vocab.kind == metallic::TokenizerKind::kBytePairEncoding)
    input.vocab.kind = metallic::TokenizerKind::kWordPiece;
  input.vocab.merges.clear();
  metallic::exercise(std::move(input.vocab), input.text);
  return 0;
}
