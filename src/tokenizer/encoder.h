// Text without special tokens to ids: the pre-tokeniser, then each word from the cache or, the first time, by merging.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"
#include "tokenizer/bpe.h"
#include "tokenizer/longest_match.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/scratch.h"
#include "tokenizer/spm.h"
#include "tokenizer/text_matcher.h"
#include "tokenizer/token_table.h"
#include "tokenizer/unigram.h"
#include "tokenizer/word_cache.h"
#include "tokenizer/word_piece.h"

namespace metallic {

// What one call of encode works with. Kept for later calls, with the words it has learnt.
struct EncodeState {
  WordCache cache;
  Scratch<uint32_t> ends;
  Scratch<TokenId> ids;           // the result
  std::vector<TokenId> word_ids;  // of one word
  std::string spaced;             // the text as SPM, unigram or WordPiece want it
  std::vector<TextMatcher::Match> matches;
};

// Lends states: as many exist as calls have run at the same time.
class EncodeStates {
 public:
  std::unique_ptr<EncodeState> take();
  void give_back(std::unique_ptr<EncodeState> state);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeState>> idle_;
};

// Immutable after build().
class Encoder {
 public:
  // `vocab`, `pool` and `table` must outlive the encoder.
  Status build(const Vocab& vocab, const BytePool& pool, const TokenTable& table);

  // Appends the ids of `text`, well-formed UTF-8 of less than 4 GiB, to state.ids. `text` is the start of a prompt or
  // follows a special token: SPM puts a space in front of it, if the vocabulary wants that.
  void encode(std::string_view text, EncodeState& state) const;

 private:
  void encode_bpe(std::string_view text, EncodeState& state) const;
  void encode_spm(std::string_view text, EncodeState& state) const;
  void encode_unigram(std::string_view text, EncodeState& state) const;
  void encode_word_piece(std::string_view text, EncodeState& state) const;
  // Words that each begin with spaces.
  void encode_spaced(std::string_view text, EncodeState& state) const;
  // The words of `text` end at `ends`.
  void encode_words(std::string_view text, std::span<const uint32_t> ends, EncodeState& state) const;
  // One that is not among the short and known ones.
  void encode_word(std::string_view word, WordCache::Key key, size_t set, EncodeState& state) const;
  void merge(std::string_view word,
             EncodeState& state) const;  // without the cache; leaves the ids in state.word_ids, too

  const Vocab* vocab_ = nullptr;
  const TokenTable* table_ = nullptr;
  PreTokenizer split_ = nullptr;
  BytePairMerger bpe_;
  ScoreMerger spm_;
  UnigramModel unigram_;
  WordPieceMatcher word_piece_;
  LongestMatcher longest_match_;
};

}  // namespace metallic
