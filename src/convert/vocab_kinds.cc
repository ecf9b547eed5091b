// The tokens of each kind of tokenizer file.
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "convert/sentencepiece_model.h"
#include "convert/vocab.h"

namespace metallic::convert {
namespace {

constexpr float kAddedScore = -1000;
constexpr std::string_view kSpace = "\u2581";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// Tokens that models use as control tokens and that their files do not call special.
bool looks_special(std::string_view text) {
  return text == "<pad>" || text == "<mask>" || text == "<2mass>" || text == "[@BOS@]" ||
         (text.starts_with("<|") && text.ends_with("|>")) || (text.starts_with("<｜") && text.ends_with("｜>")) ||
         (text.starts_with("<unused") && text.ends_with(">"));
}

// model.vocab: text -> id.
Status read_vocab_map(const JsonObject& model, ExportedVocab& vocab) {
  METALLIC_ASSIGN(const JsonObject map, model.object({"vocab"}));
  for (const auto& [text, id] : map.json().items()) {
    if (!id.is_number_integer())
      return fail(ErrorCode::kCorrupt, "{}: the id of the token '{}' is no integer", model.path(), printable(text));
    const int64_t number = id.get<int64_t>();
    if (vocab.has(number))
      return fail(ErrorCode::kCorrupt, "{}: the tokens '{}' and '{}' have the same id, {}", model.path(),
                  printable(vocab.tokens[size_t(number)]), printable(text), number);
    Status status = vocab.set(number, text, TokenType::kNormal);
    if (!status) return fail_while(model.path(), status.error());
  }
  if (map.json().empty()) return fail(ErrorCode::kCorrupt, "{}: model.vocab is empty", model.path());
  return {};
}

// {"content", "special"} for an id. The unknown token stays it.
Status add_token(const std::string& path, int64_t id, const nlohmann::json& entry, AddedTokens how,
                 ExportedVocab& vocab) {
  if (!entry.is_object() || !entry.contains("content") || !entry["content"].is_string())
    return fail(ErrorCode::kCorrupt, "{}: the added token {} has no content", path, id);
  std::string text = entry["content"].get<std::string>();
  if (!how.may_replace && vocab.has(id) && vocab.tokens[size_t(id)] != text)
    return fail(ErrorCode::kCorrupt, "{}: the added token '{}' has the id {}, which is that of '{}'", path,
                printable(text), id, printable(vocab.tokens[size_t(id)]));
  const bool special = entry.contains("special") && entry["special"].is_boolean() && entry["special"].get<bool>();
  TokenType type = special || looks_special(text) ? TokenType::kControl : TokenType::kUserDefined;
  if (type == TokenType::kUserDefined && how.spaces_escaped) text = replaced(std::move(text), kSpace, " ");
  if (id >= 0 && size_t(id) < vocab.types.size() && vocab.types[size_t(id)] == TokenType::kUnknown)
    type = TokenType::kUnknown;
  Status status = vocab.set(id, text, type, kAddedScore);
  if (!status) return fail_while(path, status.error());
  return {};
}

// A merge is "left right" or ["left", "right"].
Result<std::vector<std::pair<std::string, std::string>>> read_merges(const JsonObject& model) {
  std::vector<std::pair<std::string, std::string>> merges;
  const auto found = model.json().find("merges");
  if (found == model.json().end() || !found->is_array())
    return fail(ErrorCode::kCorrupt, "{}: model.merges is no array", model.path());
  for (const nlohmann::json& merge : *found) {
    if (merge.is_string()) {
      const std::string text = merge.get<std::string>();
      const size_t space = text.find(' ', 1);
      if (space != std::string::npos) {
        merges.emplace_back(text.substr(0, space), text.substr(space + 1));
        continue;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    return fail(ErrorCode::kCorrupt, "{}: entry {} of model.merges is no pair of tokens", model.path(), merges.size());
  }
  return merges;
}

// Merges of tokens to tokens, without marks for the beginnings or ends of words.
Result<std::vector<std::pair<std::string, std::string>>> read_bpe_merges(const JsonObject& model) {
  for (const std::string_view mark : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    METALLIC_ASSIGN(const std::string text, model.text_or({mark}, ""));
    if (!text.empty())
      return fail(ErrorCode::kUnsupported, "{}: model.{} is '{}', which GGUF cannot say", model.path(), mark,
                  printable(text));
  }
  METALLIC_ASSIGN(auto merges, read_merges(model));
  METALLIC_ASSIGN(const JsonObject vocab, model.object({"vocab"}));
  for (const auto& [left, right] : merges)
    for (const std::string& token : {left, right, left + right})
      if (!vocab.json().contains(token))
        return fail(ErrorCode::kCorrupt, "{}: the merge '{} {}' needs the token '{}', which model.vocab lacks",
                    model.path(), printable(left), printable(right), printable(token));
  return merges;
}

}  // namespace

Status read_added_tokens(const JsonObject& tokenizer, ExportedVocab& vocab, AddedTokens how) {
  const auto found = tokenizer.json().find("added_tokens");
  if (found == tokenizer.json().end() || found->is_null()) return {};
  if (!found->is_array()) return fail(ErrorCode::kCorrupt, "{}: added_tokens is no array", tokenizer.path());
  for (const nlohmann::json& entry : *found) {
    if (!entry.is_object() || !entry.contains("id") || !entry["id"].is_number_integer())
      return fail(ErrorCode::kCorrupt, "{}: an entry of added_tokens has no id", tokenizer.path());
    METALLIC_TRY(add_token(tokenizer.path(), entry["id"].get<int64_t>(), entry, how, vocab));
  }
  return {};
}

Status read_added_tokens_decoder(const JsonObject& settings, ExportedVocab& vocab) {
  const auto found = settings.json().find("added_tokens_decoder");
  if (found == settings.json().end() || !found->is_object()) return {};
  for (const auto& [key, entry] : found->items()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size())
      return fail(ErrorCode::kCorrupt, "{}: added_tokens_decoder has the key '{}', which is no id", settings.path(),
                  printable(key));
    METALLIC_TRY(add_token(settings.path(), id, entry, {.spaces_escaped = true, .may_replace = true}, vocab));
  }
  return {};
}

Status read_byte_level_bpe(const JsonObject& tokenizer, ExportedVocab& vocab) {
  vocab.model = "gpt2";
  METALLIC_ASSIGN(const JsonObject model, tokenizer.object({"model"}));
  METALLIC_TRY(read_vocab_map(model, vocab));
  METALLIC_TRY(read_added_tokens(tokenizer, vocab, {}));
  METALLIC_ASSIGN(const auto merges, read_bpe_merges(model));
  // A space inside a part would end it: it is written as the byte-level alphabet's letter for a space.
  for (const auto& [left, right] : merges)
    vocab.merges.push_back(replaced(left, " ", "\u0120") + " " + replaced(right, " ", "\u0120"));
  return {};
}

Status read_sentencepiece_bpe(const JsonObject& tokenizer, ExportedVocab& vocab) {
  vocab.model = "llama";
  METALLIC_ASSIGN(const JsonObject model, tokenizer.object({"model"}));
  METALLIC_TRY(read_vocab_map(model, vocab));
  METALLIC_ASSIGN(const std::string unknown, model.text_or({"unk_token"}, ""));
  std::map<std::string_view, size_t> id_of;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.types[id] == TokenType::kUnused) continue;
    const std::string& text = vocab.tokens[id];
    id_of[text] = id;
    if (text == unknown) vocab.types[id] = TokenType::kUnknown;
    if (text.size() == 6 && text.starts_with("<0x") && text.ends_with(">")) vocab.types[id] = TokenType::kByte;
    vocab.scores[id] = kAddedScore * 1000;  // what no merge makes comes last
  }
  METALLIC_ASSIGN(const auto merges, read_bpe_merges(model));
  float score = 0;
  for (const auto& [left, right] : merges) {  // best first: a score that falls says the same
    const size_t id = id_of.at(left + right);
    if (vocab.scores[id] == kAddedScore * 1000) vocab.scores[id] = --score;
  }
  const auto normalizer = tokenizer.json().find("normalizer");
  vocab.add_space_prefix =
      normalizer != tokenizer.json().end() && normalizer->dump().find("\"Prepend\"") != std::string::npos;
  return read_added_tokens(tokenizer, vocab, {.spaces_escaped = true});
}

// What metallic does to text before WordPiece is BertNormalizer, which every released model has.
static Status read_bert_normalizer(const JsonObject& tokenizer, ExportedVocab& vocab) {
  const auto found = tokenizer.json().find("normalizer");
  const bool known = found != tokenizer.json().end() && found->is_object() &&
                     found->value("type", nlohmann::json()) == "BertNormalizer";
  if (!known)
    return fail(ErrorCode::kUnsupported, "{}: the normalizer of a WordPiece tokenizer must be BertNormalizer",
                tokenizer.path());
  METALLIC_ASSIGN(const JsonObject normalizer, tokenizer.object({"normalizer"}));
  for (const std::string name : {"clean_text", "handle_chinese_chars"}) {
    METALLIC_ASSIGN(const bool on, normalizer.flag_or({name}, true));
    if (!on)
      return fail(ErrorCode::kUnsupported, "{}: a normalizer without {} is not supported", tokenizer.path(), name);
  }
  METALLIC_ASSIGN(vocab.lowercase, normalizer.flag_or({"lowercase"}, true));
  METALLIC_ASSIGN(vocab.strip_accents, normalizer.flag_or({"strip_accents"}, *vocab.lowercase));
  return {};
}

Status read_word_piece(const JsonObject& tokenizer, ExportedVocab& vocab) {
  vocab.model = "bert";
  METALLIC_ASSIGN(const JsonObject model, tokenizer.object({"model"}));
  METALLIC_TRY(read_vocab_map(model, vocab));
  METALLIC_TRY(read_added_tokens(tokenizer, vocab, {}));
  METALLIC_ASSIGN(const std::string inside, model.text_or({"continuing_subword_prefix"}, "##"));
  // GGUF marks the beginnings of words, Hugging Face what continues them; [unused1] and the like are neither.
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    std::string& text = vocab.tokens[id];
    if (vocab.types[id] == TokenType::kControl || vocab.types[id] == TokenType::kUnused) continue;
    if (text.starts_with("[") && text.ends_with("]")) continue;
    text = !inside.empty() && text.starts_with(inside) ? text.substr(inside.size()) : std::string(kSpace) + text;
  }
  return read_bert_normalizer(tokenizer, vocab);
}

Status read_sentencepiece_file(const std::string& path, ExportedVocab& vocab) {
  vocab.model = "llama";
  METALLIC_ASSIGN(const MappedFile file, MappedFile::open(path));
  METALLIC_ASSIGN(const SentencePieceModel model, parse_sentencepiece_model(file.bytes()));
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePieceModel::Piece& piece = model.pieces[id];
    METALLIC_TRY(vocab.set(int64_t(id), piece.text, piece.type, piece.score));
  }
  vocab.add_space_prefix = model.add_dummy_prefix;
  if (model.is_unigram) set_unigram_normalizer(model, vocab);
  return {};
}

}  // namespace metallic::convert
