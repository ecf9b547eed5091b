// tokenizer.model: the part of SentencePiece's ModelProto that a vocabulary needs
// (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto), read from protobuf's wire
// format.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "metallic/result.h"
#include "metallic/tokenizer.h"

namespace metallic::convert {

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
    TokenType type = TokenType::kNormal;
  };
  std::vector<Piece> pieces;  // by id
  bool is_unigram = true;     // trainer_spec.model_type; else BPE
  bool add_dummy_prefix = true;
  // Of the normaliser; unigram models keep these.
  std::string character_map;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
  bool space_as_suffix = false;
};

// kCorrupt says at which byte; kUnsupported for word and character models. Errors do not name the file.
Result<SentencePieceModel> parse_sentencepiece_model(std::span<const std::byte> bytes);

}  // namespace metallic::convert
