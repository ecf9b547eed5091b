// Recognised is what a pre-tokeniser does, stage by stage, not which checkpoint it comes from.
#include "convert/pre_tokenizer_name.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace metallic::convert {
namespace {

#define METALLIC_LLAMA3_SPLIT(digits)                                          \
  R"re(split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)re" digits \
  R"re(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"

struct Known {
  std::string_view stages;  // one line for each; "*" at the end: and more of that line
  std::string_view name;
  std::string_view others = {};              // names of the same thing, in spaces, for `preferred`
  std::string_view with_ignore_merges = {};  // the name if the model ignores merges
};

constexpr auto kKnown = std::to_array<Known>({
    {"bytes by words", "gpt-2", " olmo mpt phi-2 modern-bert "},
    {R"re(split 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
bytes)re",
     "gpt-2", " olmo mpt phi-2 modern-bert "},
    {"digits\nbytes by words", "starcoder", " smollm refact command-r "},
    {METALLIC_LLAMA3_SPLIT(R"re(\p{N}{1,3})re") "\nbytes", "dbrx", " glm4 smaug-bpe ", "llama-bpe"},
    {R"re(split '(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+
bytes)re",
     "dbrx", " glm4 smaug-bpe ", "llama-bpe"},
    {METALLIC_LLAMA3_SPLIT(R"re(\p{N})re") "\nbytes", "qwen2", " stablelm2 "},
    {R"re(split [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
bytes)re",
     "gpt-4o"},
    {R"re(split [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
bytes)re",
     "tekken"},
    {R"re(split \p{N}{1,3}
split [一-龥぀-ゟ゠-ヿ]+
split [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
bytes)re",
     "deepseek-v3"},
    {R"re(split [\r\n]
split \s?\p{L}+
split \s?\p{P}+
split [一-龥ࠀ-一가-퟿]+
digits
bytes)re",
     "deepseek-coder"},
    {R"re(split [\r\n]
split \s?[A-Za-z*)re",
     "deepseek-llm"},
});

#undef METALLIC_LLAMA3_SPLIT

// A backslash before a quotation mark says nothing.
std::string without_idle_escapes(std::string regex) {
  for (size_t at = regex.find('\\'); at != std::string::npos; at = regex.find('\\', at + 1))
    if (at + 1 < regex.size() && (regex[at + 1] == '"' || regex[at + 1] == '\''))
      regex.erase(at, 1);
    else
      ++at;
  return regex;
}

// One line for a stage; lines for all stages of a sequence. Depth is that of the JSON, which its reader bounds.
void describe(const nlohmann::json& stage, std::vector<std::string>& lines) {
  const auto text = [&](const char* key) {
    const auto found = stage.find(key);
    return found != stage.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto flag = [&](const char* key, bool fallback) {
    const auto found = stage.find(key);
    return found != stage.end() && found->is_boolean() ? found->get<bool>() : fallback;
  };
  if (!stage.is_object()) return lines.push_back("none");
  const std::string type = text("type");
  if (type == "Sequence" && stage.contains("pretokenizers") && stage["pretokenizers"].is_array()) {
    for (const nlohmann::json& part : stage["pretokenizers"]) describe(part, lines);
  } else if (type == "Split" && stage.contains("pattern") && stage["pattern"].is_object()) {
    const nlohmann::json& pattern = stage["pattern"];
    const bool plain = text("behavior") == "Isolated" || (text("behavior") == "Removed" && flag("invert", false));
    const bool regex = pattern.contains("Regex") && pattern["Regex"].is_string();
    lines.push_back(plain && regex ? "split " + without_idle_escapes(pattern["Regex"].get<std::string>())
                                   : "a split of another kind");
  } else if (type == "ByteLevel") {
    lines.push_back(flag("use_regex", true) ? "bytes by words" : "bytes");
  } else if (type == "Digits") {
    lines.push_back(flag("individual_digits", false) ? "digits" : "runs of digits");
  } else {
    lines.push_back(type.empty() ? "a stage without a type" : type);
  }
}

bool matches(std::string_view known, std::string_view stages) {
  if (!known.ends_with('*')) return known == stages;
  known.remove_suffix(1);
  return stages.starts_with(known);
}

}  // namespace

Result<std::string> name_pre_tokenizer(const nlohmann::json& pre_tokenizer, bool ignore_merges,
                                       std::string_view preferred) {
  std::vector<std::string> lines;
  describe(pre_tokenizer, lines);
  std::string stages, names;
  for (const std::string& line : lines) stages += (stages.empty() ? "" : "\n") + line;
  for (const Known& known : kKnown) {
    if (matches(known.stages, stages)) {
      if (ignore_merges && !known.with_ignore_merges.empty()) return std::string(known.with_ignore_merges);
      const std::string word = fmt::format(" {} ", preferred);
      return std::string(!preferred.empty() && known.others.find(word) != std::string_view::npos ? preferred
                                                                                                 : known.name);
    }
    if (names.find(known.name) == std::string::npos) names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return fail(
      ErrorCode::kUnsupported,
      "the pre-tokeniser of tokenizer.json ({}) has no name in GGUF that is known here ({}); --pre NAME chooses one",
      printable(stages, 300), names);
}

}  // namespace metallic::convert
