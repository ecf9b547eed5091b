// The vocabulary of a Hugging Face folder as GGUF's tokenizer.* keys have it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/arch.h"
#include "metallic/gguf.h"
#include "metallic/result.h"
#include "metallic/tokenizer.h"

namespace metallic::convert {

struct SentencePieceModel;

struct ExportedVocab {
  std::string model;  // tokenizer.ggml.model: gpt2, llama, bert or t5
  std::string pre;
  std::vector<std::string> tokens;  // by id, as many as the embedding has rows
  std::vector<TokenType> types;
  std::vector<float> scores;               // llama, t5
  std::vector<std::string> merges;         // gpt2
  std::map<std::string, TokenId> special;  // "bos", "eos", "unk", "sep", "pad", "mask", "eot"
  std::map<std::string, bool> add;         // "bos", "eos", "sep"; absent: the reader's default
  std::optional<bool> add_space_prefix;    // llama, t5
  // t5: spaces in a row become one, those at the ends none; whether a space is U+2581 in tokens; and stands behind
  // words
  std::optional<bool> remove_extra_spaces, escape_spaces, space_as_suffix;
  std::string character_map;                     // t5: SentencePiece's precompiled normaliser
  std::optional<bool> lowercase, strip_accents;  // bert
  std::map<std::string, std::string> templates;  // "" is the default one

  // Ids without a token are unused ones.
  void resize(size_t size);
  // Sets the token of an id; kCorrupt if the id has no place.
  Status set(int64_t id, std::string_view text, TokenType type, float score = 0);
  bool has(int64_t id) const { return id >= 0 && size_t(id) < types.size() && types[size_t(id)] != TokenType::kUnused; }
};

// How tokens are added to a vocabulary.
struct AddedTokens {
  bool spaces_escaped = false;  // the vocabulary has U+2581 for spaces
  bool may_replace = false;     // an id that has a token may get another one: files beside tokenizer.model do that
};

// Reads tokenizer.model, or else tokenizer.json, with what stands beside them. `pre` overrides the detection. kNotFound
// if the folder has neither file.
Result<ExportedVocab> read_vocab(const HfModel& model, const ConvertArch& arch, std::string_view pre);

void write_vocab(const ExportedVocab& vocab, const HfModel& model, GgufWriter& writer);

// The parts of read_vocab, one for each kind of file.
Status read_byte_level_bpe(const JsonObject& tokenizer, ExportedVocab& vocab);
Status read_sentencepiece_bpe(const JsonObject& tokenizer, ExportedVocab& vocab);  // with byte fallback
Status read_word_piece(const JsonObject& tokenizer, ExportedVocab& vocab);
Status read_unigram(const JsonObject& tokenizer, ExportedVocab& vocab);
Status read_sentencepiece_file(const std::string& path, ExportedVocab& vocab);
// What a unigram tokenizer.model says beside its pieces.
void set_unigram_normalizer(const SentencePieceModel& model, ExportedVocab& vocab);
// Tokens that tokenizer.json adds to those of its model or of tokenizer.model.
Status read_added_tokens(const JsonObject& tokenizer, ExportedVocab& vocab, AddedTokens how);
// The same of tokenizer_config.json.
Status read_added_tokens_decoder(const JsonObject& settings, ExportedVocab& vocab);

// Special ids, whether they are added, and chat templates. `tokenizer` and `settings` (tokenizer_config.json) may be
// absent.
Status read_special_tokens(const HfModel& model, const std::optional<JsonObject>& tokenizer,
                           const std::optional<JsonObject>& settings, ExportedVocab& vocab);

}  // namespace metallic::convert
