// Special tokens come from tokenizer_config.json (by text), else from config.json (by id); whether they are added from
// the post-processor of tokenizer.json, unless tokenizer_config.json says it.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "convert/vocab.h"

namespace metallic::convert {
namespace {

constexpr const char* kNames[] = {"bos", "eos", "unk", "sep", "pad", "mask"};

// "<s>" or {"content": "<s>"}.
std::string token_text(const std::optional<JsonObject>& settings, const std::string& key) {
  if (!settings) return "";
  const auto found = settings->json().find(key);
  if (found == settings->json().end()) return "";
  if (found->is_string()) return found->get<std::string>();
  const bool holds = found->is_object() && found->contains("content") && (*found)["content"].is_string();
  return holds ? (*found)["content"].get<std::string>() : "";
}

TokenId find_token(const ExportedVocab& vocab, const std::string& text) {
  if (text.empty()) return kNoToken;
  for (size_t id = 0; id < vocab.tokens.size(); ++id)
    if (vocab.tokens[id] == text && vocab.types[id] != TokenType::kUnused) return TokenId(id);
  return kNoToken;
}

// A number, or the first of a list; kNoToken if it is no id of the vocabulary.
TokenId config_id(const JsonObject& config, const std::string& key, size_t tokens) {
  const auto found = config.json().find(key);
  if (found == config.json().end()) return kNoToken;
  const nlohmann::json& value = found->is_array() && !found->empty() ? found->front() : *found;
  if (!value.is_number_integer()) return kNoToken;
  const auto id = value.get<int64_t>();
  return id >= 0 && size_t(id) < tokens ? TokenId(id) : kNoToken;
}

// The text of a special token in a template of a post-processor; "" for the sequence itself.
std::string template_token(const nlohmann::json& part) {
  if (!part.is_object() || !part.contains("SpecialToken")) return "";
  const nlohmann::json& token = part["SpecialToken"];
  return token.is_object() && token.contains("id") && token["id"].is_string() ? token["id"].get<std::string>() : "";
}

void set_special(ExportedVocab& vocab, const std::string& name, TokenId id) {
  if (id != kNoToken) vocab.special[name] = id;
}

// What is put around a text: the first and the last part of "single".
Status read_template(const std::string& path, const nlohmann::json& processor, ExportedVocab& vocab) {
  if (!processor.contains("single") || !processor["single"].is_array() || processor["single"].empty()) return {};
  const nlohmann::json& single = processor["single"];
  for (const nlohmann::json& part : single)
    if (const std::string token = template_token(part); !token.empty() && find_token(vocab, token) == kNoToken)
      return fail(ErrorCode::kCorrupt, "{}: post_processor adds the token '{}', which the vocabulary lacks", path,
                  printable(token));
  const std::string first = template_token(single.front()), last = template_token(single.back());
  vocab.add["bos"] =
      !first.empty() && vocab.special.count("bos") != 0 && find_token(vocab, first) == vocab.special.at("bos");
  vocab.add["eos"] = !last.empty() && find_token(vocab, last) != kNoToken;
  if (!vocab.add["eos"]) return {};
  // The token at the end is the end of the text; another eos_token ends a turn.
  const TokenId end = find_token(vocab, last);
  if (vocab.special.count("eos") != 0 && vocab.special["eos"] != end) vocab.special["eot"] = vocab.special["eos"];
  vocab.special["eos"] = end;
  return {};
}

Status read_post_processor(const JsonObject& tokenizer, ExportedVocab& vocab) {
  vocab.add["bos"] = vocab.add["eos"] = false;
  const auto found = tokenizer.json().find("post_processor");
  if (found == tokenizer.json().end() || !found->is_object()) return {};
  const bool several = found->contains("processors") && (*found)["processors"].is_array();
  const nlohmann::json one = several ? nlohmann::json() : nlohmann::json::array({*found});
  for (const nlohmann::json& processor : several ? (*found)["processors"] : one) {
    if (!processor.is_object() || !processor.contains("type")) continue;
    if (processor["type"] == "RobertaProcessing" || processor["type"] == "BertProcessing") {
      vocab.add["bos"] = vocab.add["eos"] = true;
      if (processor["type"] == "RobertaProcessing") vocab.add["sep"] = true;
    }
    if (processor["type"] == "TemplateProcessing") METALLIC_TRY(read_template(tokenizer.path(), processor, vocab));
  }
  return {};
}

Result<std::string> read_text(const std::filesystem::path& path) {
  METALLIC_ASSIGN(const MappedFile file, MappedFile::open(path.string()));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

// tokenizer_config.json has one template, or a list of named ones; chat_template.jinja stands in for it.
Status read_templates(const HfModel& model, const std::optional<JsonObject>& settings, ExportedVocab& vocab) {
  const std::filesystem::path file = std::filesystem::path(model.folder) / "chat_template.jinja";
  std::error_code ignored;
  if (settings && settings->has({"chat_template"})) {
    const nlohmann::json& value = settings->json().at("chat_template");
    if (value.is_string()) vocab.templates[""] = value.get<std::string>();
    if (!value.is_array()) return {};
    for (const nlohmann::json& entry : value) {
      if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) continue;
      if (!entry["name"].is_string() || !entry["template"].is_string()) continue;
      const std::string name = entry["name"].get<std::string>();
      vocab.templates[name == "default" ? "" : name] = entry["template"].get<std::string>();
    }
  } else if (std::filesystem::exists(file, ignored)) {
    METALLIC_ASSIGN(vocab.templates[""], read_text(file));
  }
  return {};
}

}  // namespace

Status read_special_tokens(const HfModel& model, const std::optional<JsonObject>& tokenizer,
                           const std::optional<JsonObject>& settings, ExportedVocab& vocab) {
  for (const std::string name : kNames) {
    set_special(vocab, name, config_id(model.config, name + "_token_id", vocab.tokens.size()));
    set_special(vocab, name, find_token(vocab, token_text(settings, name + "_token")));
  }
  // BERT's names for the two that stand around a text.
  if (token_text(settings, "bos_token").empty())
    set_special(vocab, "bos", find_token(vocab, token_text(settings, "cls_token")));
  if (token_text(settings, "eos_token").empty())
    set_special(vocab, "eos", find_token(vocab, token_text(settings, "sep_token")));
  if (tokenizer) METALLIC_TRY(read_post_processor(*tokenizer, vocab));
  if (settings) {
    for (const std::string name : {"bos", "eos"}) {
      const auto found = settings->json().find("add_" + name + "_token");
      if (found != settings->json().end() && found->is_boolean()) vocab.add[name] = found->get<bool>();
    }
    const auto space = settings->json().find("add_prefix_space");
    if (vocab.model == "llama" && space != settings->json().end() && space->is_boolean())
      vocab.add_space_prefix = space->get<bool>();
  }
  return read_templates(model, settings, vocab);
}

}  // namespace metallic::convert
