// Unigram vocabularies, as XLM-RoBERTa and T5 have them, to the keys of tokenizer.ggml.model = "t5". What GGUF can say
// of the text before that is SentencePiece's normaliser: a character map, spaces that are merged, one in front.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/error.h"
#include "base/printable.h"
#include "convert/sentencepiece_model.h"
#include "convert/vocab.h"

namespace metallic::convert {
namespace {

constexpr std::string_view kSpace = "\u2581";

// null where there is none.
const nlohmann::json& part_of(const nlohmann::json& object, const char* key) {
  static const nlohmann::json none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const nlohmann::json& part = part_of(object, key);
  return part.is_string() ? part.get<std::string>() : "";
}

// A stage of tokenizer.json: {"type", ...}; those of a sequence one after the other.
template <class Function>
Status for_each_stage(const nlohmann::json& stage, const char* list, const Function& function) {
  if (stage.is_null()) return {};
  if (!stage.is_object()) return function("", nlohmann::json::object());
  const std::string type = text_of(stage, "type");
  if (type != "Sequence") return function(type, stage);
  for (const nlohmann::json& part : part_of(stage, list))
    if (part.is_object()) METALLIC_TRY(function(text_of(part, "type"), part));
  return {};
}

tl::unexpected<Error> unknown_stage(const std::string& path, const char* what, const std::string& type,
                                    const char* known) {
  return fail(ErrorCode::kUnsupported,
              "{}: the {} '{}' of a unigram vocabulary has no form in GGUF; the known ones are: {}", path, what,
              printable(type, 80), known);
}

Status read_normalizer(const JsonObject& tokenizer, ExportedVocab& vocab) {
  const nlohmann::json& stages = part_of(tokenizer.json(), "normalizer");
  return for_each_stage(stages, "normalizers", [&](const std::string& type, const nlohmann::json& stage) -> Status {
    if (type == "Precompiled") {
      const std::optional<std::string> map = decode_base64(text_of(stage, "precompiled_charsmap"));
      if (!map || !vocab.character_map.empty())
        return fail(ErrorCode::kCorrupt, "{}: the normalizer's precompiled_charsmap is no Base64, or there are two",
                    tokenizer.path());
      vocab.character_map = *map;
      return {};
    }
    const nlohmann::json& pattern = part_of(stage, "pattern");
    const std::string content = text_of(stage, "content");
    const bool to_space = content == " " || content == kSpace;
    const bool merges = pattern.is_object() && text_of(pattern, "Regex") == " {2,}" && to_space;
    const bool escapes = pattern.is_object() && text_of(pattern, "String") == " " && content == kSpace;
    if (merges) vocab.remove_extra_spaces = true;
    if (type == "Replace" && (merges || escapes)) return {};
    if (type == "Prepend" && text_of(stage, "prepend") == kSpace) vocab.add_space_prefix = true;
    if (type == "Prepend" || type == "Strip") return {};  // spaces at the ends go where spaces are merged
    return unknown_stage(tokenizer.path(), "normalizer", type, "Precompiled, Strip, Replace of runs of spaces");
  });
}

Status read_pre_tokenizer(const JsonObject& tokenizer, ExportedVocab& vocab) {
  const nlohmann::json& stages = part_of(tokenizer.json(), "pre_tokenizer");
  return for_each_stage(stages, "pretokenizers", [&](const std::string& type, const nlohmann::json& stage) -> Status {
    if (type == "WhitespaceSplit") {
      vocab.remove_extra_spaces = true;
      return {};
    }
    if (type != "Metaspace")
      return unknown_stage(tokenizer.path(), "pre_tokenizer", type, "Metaspace, WhitespaceSplit");
    vocab.add_space_prefix = part_of(stage, "add_prefix_space") != false && text_of(stage, "prepend_scheme") != "never";
    return {};
  });
}

bool is_byte(std::string_view text) { return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">"); }

}  // namespace

Status read_unigram(const JsonObject& tokenizer, ExportedVocab& vocab) {
  vocab.model = "t5";
  METALLIC_ASSIGN(const JsonObject model, tokenizer.object({"model"}));
  METALLIC_ASSIGN(const bool byte_fallback, model.flag_or({"byte_fallback"}, false));
  const auto pieces = model.json().find("vocab");
  if (pieces == model.json().end() || !pieces->is_array())
    return fail(ErrorCode::kCorrupt, "{}: model.vocab is no array", model.path());
  int64_t id = 0;
  for (const nlohmann::json& piece : *pieces) {
    const bool pair = piece.is_array() && piece.size() == 2 && piece[0].is_string() && piece[1].is_number();
    const double score = pair ? piece[1].get<double>() : NAN;
    if (!(std::abs(score) <= 1e30))
      return fail(ErrorCode::kCorrupt, "{}: entry {} of model.vocab is no pair of a token and a number", model.path(),
                  id);
    const std::string text = piece[0].get<std::string>();
    const TokenType type = byte_fallback && is_byte(text) ? TokenType::kByte : TokenType::kNormal;
    if (Status status = vocab.set(id++, text, type, float(score)); !status)
      return fail_while(model.path(), status.error());
  }
  if (model.has({"unk_id"})) {
    METALLIC_ASSIGN(const int64_t unknown, model.integer({"unk_id"}));
    if (unknown < 0 || unknown >= id)
      return fail(ErrorCode::kCorrupt, "{}: model.unk_id is {}; there are {} tokens", model.path(), unknown, id);
    vocab.types[size_t(unknown)] = TokenType::kUnknown;
    vocab.special["unk"] = TokenId(unknown);
  }
  vocab.add_space_prefix = vocab.remove_extra_spaces = false;
  METALLIC_TRY(read_normalizer(tokenizer, vocab));
  METALLIC_TRY(read_pre_tokenizer(tokenizer, vocab));
  return read_added_tokens(tokenizer, vocab, {.spaces_escaped = true});
}

void set_unigram_normalizer(const SentencePieceModel& model, ExportedVocab& vocab) {
  vocab.model = "t5";
  vocab.character_map = model.character_map;
  vocab.add_space_prefix = model.add_dummy_prefix;
  vocab.remove_extra_spaces = model.remove_extra_spaces;
  vocab.escape_spaces = model.escape_spaces;
  vocab.space_as_suffix = model.space_as_suffix;
  vocab.add["bos"] = vocab.add["eos"] = false;  // unless another file says otherwise
}

}  // namespace metallic::convert
