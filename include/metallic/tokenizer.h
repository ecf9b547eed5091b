// Text to token ids and back. Knows no file format: a Vocab is plain data.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/result.h"

namespace metallic {

using TokenId = int32_t;
inline constexpr TokenId kNoToken = -1;

enum class TokenizerKind {
  kBytePairEncoding,  // byte-level BPE with merges ("gpt2" in GGUF)
  kSentencePiece,     // SPM: merges by score, byte fallback ("llama" in GGUF)
  kWordPiece,         // BERT: the longest token that fits, word by word ("bert" in GGUF)
  kUnigram,           // SentencePiece's other model: the highest sum of scores ("t5" in GGUF)
  kLongestMatch,      // the longest token that fits, over the whole text ("rwkv" in GGUF)
};

// The values are those of tokenizer.ggml.token_type.
enum class TokenType : uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// Everything a tokenizer needs to know.
struct Vocab {
  TokenizerKind kind = TokenizerKind::kBytePairEncoding;
  std::string pre_tokenizer;        // "qwen2", "llama-bpe", ...: how text is cut before BPE
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id, for SPM and unigram
  std::vector<TokenType> types;     // by id; empty means all normal
  std::vector<std::string> merges;  // BPE: "left right", best first
  // WordPiece: bos and eos are [CLS] and [SEP].
  TokenId bos = kNoToken, eos = kNoToken, unknown = kNoToken, padding = kNoToken, end_of_turn = kNoToken;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = true;     // SPM, unigram
  bool ignore_merges = false;       // a pre-token that is a whole token is not split (llama-bpe)
  bool remove_extra_spaces = true;  // unigram: at the ends, and all but one of several
  bool escape_spaces = true;        // unigram: the tokens have U+2581 for a space
  bool space_as_suffix = false;     // unigram: what add_space_prefix adds stands behind the text
  std::string character_map;        // unigram: SentencePiece's precompiled_charsmap, or empty
  bool lowercase = true;            // WordPiece
  bool strip_accents = true;        // WordPiece
};

struct EncodeOptions {
  bool add_special = true;    // BOS and EOS, as the vocabulary wants them
  bool parse_special = true;  // "<|im_end|>" in the text becomes that token
};

// Immutable; safe to use from any thread.
class Tokenizer {
 public:
  // kCorrupt or kUnsupported with what is wrong: unknown pre-tokeniser, a merge that names no token, ids out of range,
  // ...
  static Result<Tokenizer> create(Vocab vocab);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // kInvalidArgument if `text` is not UTF-8 (says the byte offset).
  Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The bytes of `ids`, one after the other. Control tokens give nothing unless `show_special`. Ids outside the
  // vocabulary are kOutOfRange. Bytes may end inside a UTF-8 character: StreamDecoder is for output as it comes.
  Result<std::string> decode(std::span<const TokenId> ids, bool show_special = false) const;
  // The bytes of one token, by the same rule; empty for an id outside the vocabulary.
  std::string piece(TokenId id, bool show_special = false) const;

  const Vocab& vocab() const;
  int size() const;                            // number of ids
  TokenId find(std::string_view token) const;  // the id whose vocabulary text is exactly this; kNoToken if none
  bool is_control(TokenId id) const;
  bool is_end_of_generation(
      TokenId id) const;  // EOS, end of turn, and tokens known under such names (<|im_end|>, <|eot_id|>, ...)

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decodes token by token and never hands out part of a UTF-8 character: bytes that a further token may complete are
// kept back.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool show_special = false)
      : tokenizer_(&tokenizer), show_special_(show_special) {}
  std::string push(TokenId id);  // the text that is now complete
  std::string finish();          // what is left; ill-formed bytes become U+FFFD

 private:
  const Tokenizer* tokenizer_;
  bool show_special_;
  std::string held_;
};

}  // namespace metallic
