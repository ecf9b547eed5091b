#include "tokenizer/encoder.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "tokenizer/bert_text.h"

namespace metallic {

std::unique_ptr<EncodeState> EncodeStates::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto state = std::move(idle_.back());
      idle_.pop_back();
      return state;
    }
  }
  return std::make_unique<EncodeState>();
}

void EncodeStates::give_back(std::unique_ptr<EncodeState> state) {
  constexpr size_t kKeep = 1 << 20;  // elements; buffers that a huge text needed go back to the system
  if (state->ends.capacity() > kKeep) state->ends.release();
  if (state->ids.capacity() > kKeep) state->ids.release();
  if (state->spaced.capacity() > kKeep) std::string().swap(state->spaced);
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(state));
}

Status Encoder::build(const Vocab& vocab, const BytePool& pool, const TokenTable& table) {
  vocab_ = &vocab;
  table_ = &table;
  switch (vocab.kind) {
    case TokenizerKind::kBytePairEncoding:
      break;
    case TokenizerKind::kSentencePiece:
      return spm_.build(vocab, pool, table);
    case TokenizerKind::kUnigram:
      return unigram_.build(vocab, pool);
    case TokenizerKind::kWordPiece:
      word_piece_.build(vocab, pool, table);
      return {};
    case TokenizerKind::kLongestMatch:
      longest_match_.build(vocab, pool);
      return {};
  }
  split_ = find_pre_tokenizer(vocab.pre_tokenizer);
  if (split_ == nullptr) {
    return fail(ErrorCode::kUnsupported, "unknown pre-tokeniser \"{}\"; known are {}", vocab.pre_tokenizer,
                pre_tokenizer_names());
  }
  return bpe_.build(vocab, table);
}

void Encoder::encode(std::string_view text, EncodeState& state) const {
  if (text.empty()) return;
  switch (vocab_->kind) {
    case TokenizerKind::kBytePairEncoding:
      return encode_bpe(text, state);
    case TokenizerKind::kSentencePiece:
      return encode_spm(text, state);
    case TokenizerKind::kUnigram:
      return encode_unigram(text, state);
    case TokenizerKind::kWordPiece:
      return encode_word_piece(text, state);
    case TokenizerKind::kLongestMatch:
      return merge(text, state);
  }
}

void Encoder::encode_words(std::string_view text, std::span<const uint32_t> ends, EncodeState& state) const {
  struct Word {
    std::string_view text;
    WordCache::Key key;
    size_t set;
  };
  constexpr size_t kBatch = 16;  // in flight at once, so that none waits for memory alone
  std::array<Word, kBatch> words;
  size_t begin = 0;
  while (!ends.empty()) {
    const size_t count = std::min(kBatch, ends.size());
    for (size_t i = 0; i < count; ++i) {
      Word& word = words[i];
      word.text = {text.data() + begin, ends[i] - begin};
      word.key = WordCache::key_of(word.text, text.size() - begin);
      word.set = state.cache.prefetch(word.key);
      begin = ends[i];
    }
    state.ids.reserve_more(2 * kBatch);
    TokenId* out = state.ids.end();
    for (size_t i = 0; i < count; ++i) {
      const Word& word = words[i];
      if (state.cache.write_short(word.key, word.set, out)) [[likely]]
        continue;
      state.ids.set_end(out);
      encode_word(word.text, word.key, word.set, state);
      state.ids.reserve_more(2 * kBatch);
      out = state.ids.end();
    }
    state.ids.set_end(out);
    ends = ends.subspan(count);
  }
}

void Encoder::encode_word(std::string_view word, WordCache::Key key, size_t set, EncodeState& state) const {
  if (state.cache.append(key, set, word, state.ids)) return;
  merge(word, state);
  if (word.size() <= WordCache::kLongestWord) state.cache.add(key, set, word, state.word_ids);
}

void Encoder::merge(std::string_view word, EncodeState& state) const {
  state.word_ids.clear();
  const TokenId whole = vocab_->ignore_merges ? table_->find(word) : kNoToken;
  if (whole != kNoToken) {
    state.word_ids.push_back(whole);
  } else {
    switch (vocab_->kind) {
      case TokenizerKind::kBytePairEncoding:
        bpe_.encode(word, state.word_ids);
        break;
      case TokenizerKind::kSentencePiece:
        spm_.encode(word, state.word_ids);
        break;
      case TokenizerKind::kUnigram:
        unigram_.encode(word, state.word_ids);
        break;
      case TokenizerKind::kWordPiece:
        word_piece_.encode(word, state.word_ids);
        break;
      case TokenizerKind::kLongestMatch:
        longest_match_.encode(word, state.word_ids);
        break;
    }
  }
  state.ids.append(state.word_ids);
}

void Encoder::encode_bpe(std::string_view text, EncodeState& state) const {
  state.ends.clear();
  state.ends.reserve_more(text.size());
  const size_t count = split_(text, state.ends.data());
  encode_words(text, {state.ends.data(), count}, state);
}

void Encoder::encode_spm(std::string_view text, EncodeState& state) const {
  state.spaced.clear();
  if (vocab_->add_space_prefix) state.spaced += ' ';
  for (size_t at = 0; at < text.size();) {  // a U+2581 of the text itself is a space, too
    const size_t mark = std::min(text.find(kSpaceMark, at), text.size());
    state.spaced.append(text.substr(at, mark - at));
    if (mark < text.size()) state.spaced += ' ';
    at = mark + kSpaceMark.size();
  }
  if (spm_.words_are_independent())
    encode_spaced(state.spaced, state);
  else
    merge(state.spaced, state);
}

void Encoder::encode_unigram(std::string_view text, EncodeState& state) const {
  state.spaced.clear();
  unigram_.append_normalized(text, state.spaced);
  if (unigram_.words_are_independent())
    encode_spaced(state.spaced, state);
  else
    merge(state.spaced, state);
}

void Encoder::encode_word_piece(std::string_view text, EncodeState& state) const {
  state.spaced.clear();
  state.ends.clear();
  append_bert_words(text, {vocab_->lowercase, vocab_->strip_accents}, state.spaced, state.ends);
  encode_words(state.spaced, {state.ends.data(), state.ends.size()}, state);
}

void Encoder::encode_spaced(std::string_view text, EncodeState& state) const {
  state.ends.clear();
  for (size_t begin = 0; begin < text.size();) {  // words: spaces, then what is none
    begin = std::min(text.find(' ', text.find_first_not_of(' ', begin)), text.size());
    state.ends.push_back(uint32_t(begin));
  }
  encode_words(text, {state.ends.data(), state.ends.size()}, state);
}

}  // namespace metallic
