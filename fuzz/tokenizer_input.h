// A vocabulary and a text from bytes, for a tokenizer of any kind. One line each: what the first letter says, then the
// value.
//   T token   C control token   U user-defined token   N unknown token   B byte token   M merge   P pre-tokeniser
//   S token with a score: a character that says which, then the token
//   I special id: b (BOS), e (EOS), u (unknown), p (padding) or t (end of turn), then a number, which may be no id
//   O options: letters b (add BOS), e (add EOS), s (space prefix), i (ignore merges), y (no types),
//     x (remove extra spaces), f (space as suffix), c (keep case), a (keep accents)   X text
//   K kind: w (WordPiece), u (unigram), l (longest match)
//   H bytes of the character map; of several lines each is a newline behind the one before
// Fuzzing another kind takes a program of two lines (bpe.cc) and seeds (make-corpus).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "metallic/tokenizer.h"

namespace metallic {

struct TokenizerInput {
  Vocab vocab;
  std::string text;
};

inline void add_token(Vocab& vocab, std::string_view token, TokenType type, float score) {
  vocab.tokens.emplace_back(token);
  vocab.types.push_back(type);
  vocab.scores.push_back(score);
}

inline float score_of(char letter) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (letter) {
    case '!':
      return std::numeric_limits<float>::quiet_NaN();
    case '+':
      return kInfinity;
    case '-':
      return -kInfinity;
    default:
      return -float(uint8_t(letter));
  }
}

inline void set_special_id(Vocab& vocab, std::string_view value) {
  if (value.empty()) return;
  const auto id = TokenId(std::strtoll(std::string(value.substr(1)).c_str(), nullptr, 10));
  switch (value[0]) {
    case 'b':
      vocab.bos = id;
      return;
    case 'e':
      vocab.eos = id;
      return;
    case 'u':
      vocab.unknown = id;
      return;
    case 'p':
      vocab.padding = id;
      return;
    case 't':
      vocab.end_of_turn = id;
      return;
    default:
      return;
  }
}

inline void read_line(char kind, std::string_view value, TokenizerInput& input) {
  Vocab& vocab = input.vocab;
  const auto has = [&](char letter) { return value.find(letter) != std::string_view::npos; };
  const auto add = [&](TokenType type) { add_token(vocab, value, type, -float(value.size())); };
  switch (kind) {
    case 'T':
      return add(TokenType::kNormal);
    case 'S':
      if (!value.empty()) add_token(vocab, value.substr(1), TokenType::kNormal, score_of(value[0]));
      return;
    case 'C':
      return add(TokenType::kControl);
    case 'U':
      return add(TokenType::kUserDefined);
    case 'N':
      return add(TokenType::kUnknown);
    case 'B':
      return add(TokenType::kByte);
    case 'M':
      vocab.merges.emplace_back(value);
      return;
    case 'P':
      vocab.pre_tokenizer = value;
      return;
    case 'I':
      return set_special_id(vocab, value);
    case 'O':
      vocab.add_bos = has('b');
      vocab.add_eos = has('e');
      vocab.add_space_prefix = has('s');
      vocab.ignore_merges = has('i');
      if (has('y')) vocab.types.clear();  // as many types as tokens, or none, or a number that must be refused
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
  return input;
}

// Encodes and decodes in every way; ids must be in the vocabulary.
inline void exercise(Vocab vocab, const std::string& text) {
  const auto tokenizer = Tokenizer::create(std::move(vocab));
  if (!tokenizer) {
    if (tokenizer.error().message.empty()) __builtin_trap();
    return;
  }
  for (const bool special : {false, true}) {
    const auto ids = tokenizer->encode(text, {.add_special = special, .parse_special = special});
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
    (void)tokenizer->find(tokenizer->piece(id, true));
    (void)tokenizer->is_control(id);
    (void)tokenizer->is_end_of_generation(id);
  }
}

// What a fuzzer of one kind of tokenizer does with its bytes.
inline int fuzz_tokenizer(TokenizerKind kind, const uint8_t* data, size_t size) {
  TokenizerInput input = read_input(data, size);
  input.vocab.kind = kind;
  if (kind == TokenizerKind::kBytePairEncoding) input.vocab.scores.clear();
  exercise(std::move(input.vocab), input.text);
  return 0;
}

}  // namespace metallic
