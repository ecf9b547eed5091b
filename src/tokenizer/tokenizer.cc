// The public Tokenizer: checks a vocabulary, prepares its tables, and cuts text at special tokens.
#include "metallic/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/encoder.h"
#include "tokenizer/end_tokens.h"

namespace metallic {

struct Tokenizer::Impl {
  Vocab vocab;
  BytePool pool;     // what each token's text stands for
  TokenTable table;  // of tokens that ordinary text can become
  Encoder encoder;
  TextMatcher user_defined, special;  // the texts cut out of a prompt: always, and if it may hold special tokens
  std::vector<bool> hidden;           // control and unknown tokens: no text unless asked for
  std::vector<bool> control;
  std::vector<bool> end_of_generation;
  EncodeStates states;

  TokenType type(size_t id) const { return vocab.types.empty() ? TokenType::kNormal : vocab.types[id]; }
  bool is_literal(size_t id) const {
    return type(id) == TokenType::kControl || type(id) == TokenType::kUnknown || type(id) == TokenType::kUserDefined;
  }
  Status check() const;
  void fill_pool();
  void note_special_tokens();
  void mark_known_tokens();
  void build_matchers();
  std::string_view text(size_t id) const { return is_literal(id) ? std::string_view(vocab.tokens[id]) : pool[id]; }
  std::string_view shown(size_t id, bool show_special) const {
    return hidden[id] && !show_special ? std::string_view() : text(id);
  }
};

Status Tokenizer::Impl::check() const {
  const size_t count = vocab.tokens.size();
  if (count == 0) return fail(ErrorCode::kCorrupt, "the vocabulary is empty");
  size_t bytes = 0;
  for (const std::string& token : vocab.tokens) bytes += token.size();
  if (count > size_t{1} << 30 || bytes > size_t{1} << 31) {
    return fail(ErrorCode::kCorrupt, "the vocabulary has {} tokens of {} bytes, which is more than any real one", count,
                bytes);
  }
  const bool need_scores = vocab.kind == TokenizerKind::kSentencePiece || vocab.kind == TokenizerKind::kUnigram;
  if (vocab.scores.size() != count && (need_scores || !vocab.scores.empty())) {
    return fail(ErrorCode::kCorrupt, "{} tokens but {} scores", count, vocab.scores.size());
  }
  for (size_t id = 0; id < vocab.scores.size(); ++id) {
    if (std::isnan(vocab.scores[id])) return fail(ErrorCode::kCorrupt, "the score of token {} is not a number", id);
  }
  if (vocab.types.size() != count && !vocab.types.empty()) {
    return fail(ErrorCode::kCorrupt, "{} tokens but {} token types", count, vocab.types.size());
  }
  const std::pair<const char*, TokenId> ids[] = {{"BOS", vocab.bos},
                                                 {"EOS", vocab.eos},
                                                 {"unknown", vocab.unknown},
                                                 {"padding", vocab.padding},
                                                 {"end of turn", vocab.end_of_turn}};
  for (const auto& [name, id] : ids) {
    if (id != kNoToken && (id < 0 || size_t(id) >= count)) {
      return fail(ErrorCode::kCorrupt, "the {} token is {}, but the vocabulary's ids are 0 to {}", name, id, count - 1);
    }
  }
  if (vocab.kind == TokenizerKind::kWordPiece && vocab.unknown == kNoToken)
    return fail(ErrorCode::kCorrupt, "there is no token for unknown words");
  if (vocab.add_bos && vocab.bos == kNoToken)
    return fail(ErrorCode::kCorrupt, "BOS is to be added, but there is no BOS token");
  if (vocab.add_eos && vocab.eos == kNoToken)
    return fail(ErrorCode::kCorrupt, "EOS is to be added, but there is no EOS token");
  return {};
}

// Appends what `token` stands for in running text. False if it cannot occur there: then it is the token itself that is
// appended.
static bool append_raw_bytes(const Vocab& vocab, std::string_view token, std::string& out) {
  const size_t start = out.size();
  bool is_text = true;
  switch (vocab.kind) {
    case TokenizerKind::kBytePairEncoding:
    case TokenizerKind::kLongestMatch:
      is_text = vocab.kind == TokenizerKind::kLongestMatch ? append_unescaped(token, out)
                                                           : ByteAlphabet::get().decode(token, out);
      if (is_text) return true;
      out.resize(start);
      out += token;
      return false;
    case TokenizerKind::kWordPiece:  // a mark stands only before what begins a word; alone it continues one
      is_text = token.find(' ') == std::string_view::npos;
      if (token.starts_with(kSpaceMark) && token != kSpaceMark) {
        out += ' ';
        token.remove_prefix(kSpaceMark.size());
      }
      out += token;
      return is_text;
    case TokenizerKind::kSentencePiece:
    case TokenizerKind::kUnigram:
      break;
  }
  if (vocab.kind == TokenizerKind::kUnigram && !vocab.escape_spaces) {
    out += token;
    return true;
  }
  is_text = token.find(' ') == std::string_view::npos;
  for (size_t at = 0; at < token.size();) {
    const size_t mark = std::min(token.find(kSpaceMark, at), token.size());
    out += token.substr(at, mark - at);
    if (mark < token.size()) out += ' ';
    at = mark + kSpaceMark.size();
  }
  return is_text;
}

void Tokenizer::Impl::fill_pool() {
  const size_t count = vocab.tokens.size();
  size_t bytes = 0;
  for (const std::string& token : vocab.tokens) bytes += token.size();
  pool.reserve(count, bytes);
  const bool bpe = vocab.kind == TokenizerKind::kBytePairEncoding;
  const bool spm = vocab.kind == TokenizerKind::kSentencePiece;
  std::vector<TokenId> plain, special_text;  // tokens that text can become
  plain.reserve(count);
  for (size_t id = 0; id < count; ++id) {
    const std::string& token = vocab.tokens[id];
    const bool maybe_byte = type(id) == TokenType::kByte || (vocab.types.empty() && (bpe || spm));
    const int byte = maybe_byte ? parse_byte_token(token) : -1;
    bool is_text = false;
    if (byte >= 0)
      pool.open() += char(byte);
    else
      is_text = append_raw_bytes(vocab, token, pool.open()) && !token.empty();
    pool.close();
    if (is_text && !is_literal(id)) plain.push_back(TokenId(id));
    if (is_text && is_literal(id) && (bpe || type(id) == TokenType::kUserDefined)) special_text.push_back(TokenId(id));
  }
  // Of equal texts the first wins, but a token made for text wins over a special one. A control token never comes from
  // text, but in BPE it can, if there are merges that lead to it.
  table.reset(&pool, count);
  table.add(plain);
  table.add(special_text);
}

void Tokenizer::Impl::note_special_tokens() {
  const size_t count = vocab.tokens.size();
  hidden.assign(count, false);
  control.assign(count, false);
  end_of_generation.assign(count, false);
  for (size_t id = 0; id < count; ++id) {
    if (!is_literal(id)) continue;
    control[id] = type(id) == TokenType::kControl;
    hidden[id] = control[id] || type(id) == TokenType::kUnknown;
    end_of_generation[id] = control[id] && ends_generation_if_control(vocab.tokens[id]);
  }
  mark_known_tokens();
  for (const TokenId id : {vocab.eos, vocab.end_of_turn}) {
    if (id != kNoToken) end_of_generation[size_t(id)] = true;
  }
  build_matchers();
}

void Tokenizer::Impl::mark_known_tokens() {
  std::vector<size_t> literal;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (is_literal(id)) literal.push_back(id);
  }
  const auto find = [&](std::string_view name) {
    const auto found = std::ranges::find_if(literal, [&](size_t id) { return vocab.tokens[id] == name; });
    if (found != literal.end()) return TokenId(*found);
    const TokenId plain = table.find(name);  // written as text, so at least of printable ASCII
    return plain != kNoToken && vocab.tokens[size_t(plain)] == name ? plain : kNoToken;
  };
  for (const KnownToken& known : known_tokens()) {
    const TokenId id = find(known.text);
    if (id == kNoToken) continue;
    control[size_t(id)] = hidden[size_t(id)] = true;
    if (known.ends_generation) end_of_generation[size_t(id)] = true;
  }
  // In the harmony format <|end|> ends a message, and only <|return|> and <|call|> the generation.
  const TokenId message_end = find("<|end|>");
  if (message_end != kNoToken && find("<|return|>") != kNoToken) end_of_generation[size_t(message_end)] = false;
}

void Tokenizer::Impl::build_matchers() {
  std::vector<TextMatcher::Entry> always, all;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if ((!is_literal(id) && !control[id]) || vocab.tokens[id].empty()) continue;
    all.push_back({vocab.tokens[id], TokenId(id)});
    if (!hidden[id]) always.push_back({vocab.tokens[id], TokenId(id)});
  }
  user_defined.build(std::move(always));
  special.build(std::move(all));
}

Result<Tokenizer> Tokenizer::create(Vocab vocab) {
  auto impl = std::make_unique<Impl>();
  impl->vocab = std::move(vocab);
  METALLIC_TRY(impl->check());
  impl->fill_pool();
  impl->note_special_tokens();
  METALLIC_TRY(impl->encoder.build(impl->vocab, impl->pool, impl->table));
  return Tokenizer(std::move(impl));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (const size_t invalid = find_invalid_utf8(text); invalid != std::string_view::npos) {
    return fail(ErrorCode::kInvalidArgument, "the text is not UTF-8: byte 0x{:02x} at offset {} starts no character",
                uint8_t(text[invalid]), invalid);
  }
  if (text.size() >= size_t{1} << 32) {
    return fail(ErrorCode::kInvalidArgument, "the text has {} bytes; the most for one call is 4 GiB, so cut it",
                text.size());
  }
  const Vocab& vocab = impl_->vocab;
  std::unique_ptr<EncodeState> state = impl_->states.take();
  state->ids.clear();
  if (options.add_special && vocab.add_bos) state->ids.push_back(vocab.bos);
  (options.parse_special ? impl_->special : impl_->user_defined).find(text, state->matches);
  size_t begin = 0;
  for (const TextMatcher::Match& match : state->matches) {
    impl_->encoder.encode(text.substr(begin, match.begin - begin), *state);
    state->ids.push_back(match.id);
    begin = match.begin + match.size;
  }
  impl_->encoder.encode(text.substr(begin), *state);
  if (options.add_special && vocab.add_eos) state->ids.push_back(vocab.eos);
  std::vector<TokenId> ids(state->ids.span().begin(), state->ids.span().end());
  impl_->states.give_back(std::move(state));
  return ids;
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, bool show_special) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= size()) {
      return fail(ErrorCode::kOutOfRange, "token {} of the sequence is {}, but the vocabulary's ids are 0 to {}", i,
                  ids[i], size() - 1);
    }
    text += impl_->shown(size_t(ids[i]), show_special);
  }
  return text;
}

std::string Tokenizer::piece(TokenId id, bool show_special) const {
  return id < 0 || id >= size() ? std::string() : std::string(impl_->shown(size_t(id), show_special));
}

const Vocab& Tokenizer::vocab() const { return impl_->vocab; }
int Tokenizer::size() const { return int(impl_->vocab.tokens.size()); }

TokenId Tokenizer::find(std::string_view token) const {
  const std::vector<std::string>& tokens = impl_->vocab.tokens;
  std::string bytes;
  if (append_raw_bytes(impl_->vocab, token, bytes)) {
    const TokenId id = impl_->table.find(bytes);
    if (id != kNoToken && tokens[size_t(id)] == token) return id;
  }
  const auto found = std::ranges::find(tokens, token);  // a byte token, or one that is not written as text is
  return found == tokens.end() ? kNoToken : TokenId(found - tokens.begin());
}

bool Tokenizer::is_control(TokenId id) const { return id >= 0 && id < size() && impl_->control[size_t(id)]; }
bool Tokenizer::is_end_of_generation(TokenId id) const {
  return id >= 0 && id < size() && impl_->end_of_generation[size_t(id)];
}

}  // namespace metallic
