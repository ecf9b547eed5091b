// SentencePiece's precompiled normaliser: a double array (Darts-clone's format) that leads from the bytes of a text to
// what replaces them. Source: https://github.com/google/sentencepiece/blob/master/src/normalizer.h
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"

namespace metallic {

// Immutable after build(). Whatever its bytes are, nothing is read outside them.
class CharacterMap {
 public:
  struct Match {
    size_t size = 0;  // bytes of the text that are replaced; 0 if nothing is
    std::string_view replacement;
  };

  // `bytes`: the size of the array in bytes, 32 bits; the array; the replacements, each with a NUL behind it. May be
  // empty: then nothing is replaced. kCorrupt if the sizes do not fit.
  Status build(std::string_view bytes);

  // The longest text at the start of `text` that has a replacement.
  Match longest_match(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace metallic
