// A vocabulary and a text from bytes, one line each: what the first letter says, then the value.
//   T token   C control token   U user-defined token   B byte token   M merge   S token with a score of minus its
//   length P pre-tokeniser   O options: letters b (add BOS), e (add EOS), s (space prefix), i (ignore merges), x (remove extra
//   spaces), f (space as suffix), c (keep case), a (keep accents)   K kind: w (WordPiece), u (unigram), l (longest match)
//   H bytes of the character map; of several lines each is a newline behind the one before
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "metallic/tokenizer.h"

namespace metallic {

struct TokenizerInput {
  Vocab vocab;
  std::string text;
};

inline void add_token(Vocab& vocab, std::string_view token, TokenType type) {
  vocab.tokens.emplace_back(token);
  vocab.types.push_back(type);
  vocab.scores.push_back(-float(token.size()));
}

inline void read_line(char kind, std::string_view value, TokenizerInput& input) {
  Vocab& vocab = input.vocab;
  const auto has = [&](char letter) { return value.find(letter) != std::string_view::npos; };
  switch (kind) {
    case 'T':
    case 'S':
      return add_token(vocab, value, TokenType::kNormal);
    case 'C':
      return add_token(vocab, value, TokenType::kControl);
    case 'U':
      return add_token(vocab, value, TokenType::kUserDefined);
    case 'B':
      return add_token(vocab, value, TokenType::kByte);
    case 'M':
      vocab.merges.emplace_back(value);
      return;
    case 'P':
      vocab.pre_tokenizer = value;
      return;
    case 'O':
      vocab.add_bos = has('b');
      vocab.add_eos = has('e');
      vocab.add_space_prefix = has('s');
      vocab.ignore_merges = has('i');
      vocab.remove_extra_spaces = has('x');
      vocab.space_as_suffix = has('f');
      vocab.lowercase = !has('c');
      vocab.strip_accents = !has('a');
      return;
    case 'K':
      vocab.kind = has('u')   ? TokenizerKind::kUnigram
                   : has('l') ? TokenizerKind::kLongestMatch
                              : TokenizerKind::kWordPiece;
      return;
    case 'H':
      if (!vocab.character_map.empty()) vocab.character_map += '\n';
      vocab.character_map += value;
      return;
    case 'X':
      input.text += std::string(value) + "\n";
      return;
    default:
      return;
  }
}

inline TokenizerInput read_input(const uint8_t* data, size_t size) {
  TokenizerInput input;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (!line.empty()) read_line(line[0], line.substr(1), input);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  if (!input.vocab.tokens.empty()) input.vocab.bos = input.vocab.unknown = 0;
  if (!input.vocab.tokens.empty()) input.vocab.eos = TokenId(input.vocab.tokens.size() - 1);
  return input;
}

// Encodes and decodes in every way; ids must be in the vocabulary.
inline void exercise(TokenizerInput input) {
  const auto tokenizer = Tokenizer::create(std::move(input.vocab));
  if (!tokenizer) return;
  for (const bool special : {false, true}) {
    const auto ids = tokenizer->encode(input.text, {.add_special = special, .parse_special = special});
    if (!ids) continue;
    StreamDecoder stream(*tokenizer, special);
    for (const TokenId id : *ids) {
      if (id < 0 || id >= tokenizer->size()) __builtin_trap();
      (void)stream.push(id);
    }
    (void)stream.finish();
    if (!tokenizer->decode(*ids, special)) __builtin_trap();
  }
  for (TokenId id = -2; id < tokenizer->size() + 2; ++id) {
    (void)tokenizer->piece(id, true);
    (void)tokenizer->is_end_of_generation(id);
  }
}

}  // namespace metallic
