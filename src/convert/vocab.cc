#include "convert/vocab.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "convert/pre_tokenizer_name.h"
#include "tokenizer/character_map.h"

namespace metallic::convert {
namespace {

constexpr float kUnusedScore = -10000;

Result<std::optional<JsonObject>> open_if_present(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<JsonObject>();
  METALLIC_ASSIGN(JsonObject object, JsonObject::open(path.string()));
  return std::optional(std::move(object));
}

Status read_tokenizer_json(const JsonObject& tokenizer, ExportedVocab& vocab) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    const auto found = tokenizer.json().find(part);
    if (found != tokenizer.json().end() && !found->is_null() && !found->is_object())
      return fail(ErrorCode::kCorrupt, "{}: {} is no object", tokenizer.path(), part);
  }
  METALLIC_ASSIGN(const JsonObject model, tokenizer.object({"model"}));
  METALLIC_ASSIGN(const std::string type, model.text_or({"type"}, "BPE"));
  METALLIC_ASSIGN(const bool byte_fallback, model.flag_or({"byte_fallback"}, false));
  if (type == "BPE" && !byte_fallback) return read_byte_level_bpe(tokenizer, vocab);
  if (type == "BPE") return read_sentencepiece_bpe(tokenizer, vocab);
  if (type == "WordPiece") return read_word_piece(tokenizer, vocab);
  if (type == "Unigram") return read_unigram(tokenizer, vocab);
  return fail(ErrorCode::kUnsupported,
              "{}: the model type '{}' is not supported; the known ones are: BPE, WordPiece, Unigram", tokenizer.path(),
              printable(type));
}

Result<std::string> choose_pre(const JsonObject& tokenizer, const ConvertArch& arch) {
  METALLIC_ASSIGN(const JsonObject model, tokenizer.object({"model"}));
  METALLIC_ASSIGN(const bool ignore_merges, model.flag_or({"ignore_merges"}, false));
  const auto found = tokenizer.json().find("pre_tokenizer");
  auto name = name_pre_tokenizer(found == tokenizer.json().end() ? nlohmann::json() : *found, ignore_merges,
                                 arch.pre_tokenizer);
  if (!name) return fail_while(tokenizer.path(), name.error());
  return name;
}

}  // namespace

void ExportedVocab::resize(size_t size) {
  for (size_t id = tokens.size(); id < size; ++id) {
    tokens.push_back("[PAD" + std::to_string(id) + "]");
    types.push_back(TokenType::kUnused);
    scores.push_back(kUnusedScore);
  }
}

Status ExportedVocab::set(int64_t id, std::string_view text, TokenType type, float score) {
  if (id < 0 || size_t(id) >= tokens.size())
    return fail(ErrorCode::kCorrupt, "the token '{}' has the id {}; config.json says that there are {}",
                printable(text), id, tokens.size());
  tokens[size_t(id)] = text;
  types[size_t(id)] = type;
  scores[size_t(id)] = score;
  return {};
}

Result<ExportedVocab> read_vocab(const HfModel& model, const ConvertArch& arch, std::string_view pre) {
  const std::filesystem::path folder(model.folder);
  METALLIC_ASSIGN(const std::optional<JsonObject> tokenizer, open_if_present(folder / "tokenizer.json"));
  METALLIC_ASSIGN(const std::optional<JsonObject> settings, open_if_present(folder / "tokenizer_config.json"));
  ExportedVocab vocab;
  vocab.resize(size_t(model.dims['V']));
  std::error_code ignored;
  if (std::filesystem::exists(folder / "tokenizer.model", ignored)) {
    const std::string path = (folder / "tokenizer.model").string();
    Status status = read_sentencepiece_file(path, vocab);
    if (!status) return fail_while(path, status.error());
    if (settings) METALLIC_TRY(read_added_tokens_decoder(*settings, vocab));
    if (tokenizer) METALLIC_TRY(read_added_tokens(*tokenizer, vocab, {.spaces_escaped = true, .may_replace = true}));
  } else if (tokenizer) {
    METALLIC_TRY(read_tokenizer_json(*tokenizer, vocab));
  } else {
    return fail(ErrorCode::kNotFound, "{}: has neither tokenizer.json nor tokenizer.model", model.folder);
  }
  METALLIC_TRY(read_special_tokens(model, tokenizer, settings, vocab));
  if (Status status = CharacterMap().build(vocab.character_map); !status)
    return fail_while(model.folder, status.error());
  vocab.pre = pre;
  if (vocab.pre.empty() && vocab.model == "gpt2") {
    METALLIC_ASSIGN(vocab.pre, choose_pre(*tokenizer, arch));
  }
  if (vocab.pre.empty()) vocab.pre = vocab.model == "bert" ? "bert-bge" : "default";
  return vocab;
}

void write_vocab(const ExportedVocab& vocab, const HfModel& model, GgufWriter& writer) {
  writer.set_string("tokenizer.ggml.model", vocab.model);
  writer.set_string("tokenizer.ggml.pre", vocab.pre);
  writer.set_strings("tokenizer.ggml.tokens", vocab.tokens);
  std::vector<int32_t> types;
  for (const TokenType type : vocab.types) types.push_back(int32_t(type));
  writer.set_ints("tokenizer.ggml.token_type", types);
  if (vocab.model == "llama" || vocab.model == "t5") writer.set_floats("tokenizer.ggml.scores", vocab.scores);
  if (vocab.model == "gpt2") writer.set_strings("tokenizer.ggml.merges", vocab.merges);
  if (vocab.model != "llama" && model.dims.has('t'))  // a decoder with such a vocabulary has no token types
    writer.set_unsigned("tokenizer.ggml.token_type_count", uint32_t(model.dims['t']));
  constexpr std::pair<const char*, const char*> kIds[] = {{"bos", "bos"},       {"eos", "eos"},   {"unk", "unknown"},
                                                          {"sep", "seperator"},  // spelt so in the format
                                                          {"pad", "padding"},   {"mask", "mask"}, {"eot", "eot"}};
  for (const auto& [name, key] : kIds)
    if (const auto id = vocab.special.find(name); id != vocab.special.end())
      writer.set_unsigned(std::string("tokenizer.ggml.") + key + "_token_id", uint32_t(id->second));
  for (const auto& [name, value] : vocab.add) writer.set_bool("tokenizer.ggml.add_" + name + "_token", value);
  const std::pair<const char*, const std::optional<bool>&> kFlags[] = {
      {"add_space_prefix", vocab.add_space_prefix}, {"remove_extra_whitespaces", vocab.remove_extra_spaces},
      {"escape_whitespaces", vocab.escape_spaces},  {"treat_whitespace_as_suffix", vocab.space_as_suffix},
      {"normalizer.lowercase", vocab.lowercase},    {"normalizer.strip_accents", vocab.strip_accents}};
  for (const auto& [key, value] : kFlags)
    if (value) writer.set_bool(std::string("tokenizer.ggml.") + key, *value);
  if (!vocab.character_map.empty())
    writer.set(
        "tokenizer.ggml.precompiled_charsmap", MetadataType::kArray,
        std::make_shared<const MetadataArray>(MetadataArray::of_numbers(
            MetadataType::kUint8, std::as_bytes(std::span(vocab.character_map)).data(), vocab.character_map.size())));
  std::vector<std::string> names;
  for (const auto& [name, text] : vocab.templates) {
    writer.set_string(name.empty() ? "tokenizer.chat_template" : "tokenizer.chat_template." + name, text);
    if (!name.empty()) names.push_back(name);
  }
  if (!names.empty()) writer.set_strings("tokenizer.chat_templates", names);
}

}  // namespace metallic::convert
