// The vocabulary in the metadata: what its arrays say of one another, as far as it holds for every vocabulary or for
// all of this one but a few tokens.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/printable.h"
#include "base/utf8.h"
#include "engine/verify_checks.h"

namespace metallic {
namespace {

constexpr int64_t kNormalToken = 1;

// Types that no writer gives, to any token or to those that end or begin a text.
void check_token_types(const GgufFile& file, Findings& findings) {
  const MetadataValue* value = file.find("tokenizer.ggml.token_type");
  const MetadataArray* array = value == nullptr ? nullptr : value->as_array();
  const auto types = array == nullptr ? std::nullopt : array->integers();
  if (!types) return;
  constexpr int64_t kUndefined = 0, kLast = 6;
  for (const int64_t type : *types)
    if (type < kUndefined || type > kLast)
      findings.failed(fmt::format("tokenizer.ggml.token_type has the value {}; types go from 0 to 6", type));
  const auto undefined = std::ranges::find(*types, kUndefined);
  if (undefined != types->end() && std::ranges::count(*types, kUndefined) != std::ranges::ssize(*types))
    findings.warn(fmt::format("token {} has the type 0 (undefined)", undefined - types->begin()));
  for (const std::string_view name : {"bos", "eos", "eot"}) {
    const auto id = file.get_unsigned_or(fmt::format("tokenizer.ggml.{}_token_id", name), UINT64_MAX);
    if (id && *id < types->size() && (*types)[size_t(*id)] == kNormalToken)
      findings.warn(fmt::format("tokenizer.ggml.{}_token_id is {}, a token of normal text", name, *id));
  }
}

// Exceptions from what a vocabulary does throughout: warned of if they are so few that damage explains them best.
class Exceptions {
 public:
  void add(size_t at) {
    if (count_++ == 0) first_ = at;
  }
  // Reports the first of them, of `all` that there are.
  template <class Describe>
  void report(size_t all, Findings& findings, const Describe& describe) const {
    if (count_ == 0 || count_ > std::max<size_t>(1, all / 1000)) return;
    findings.warn(describe(first_) + (count_ > 1 ? fmt::format("; there are {} like it", count_) : ""));
  }

 private:
  size_t count_ = 0, first_ = 0;
};

// Byte-level BPE as it is trained: each merge makes one more token, so that tokens stand in the order of their merges,
// each has one, and no other merges than those exist.
void check_merges(const GgufFile& file, std::span<const std::string_view> tokens, Findings& findings) {
  const auto strings = [&](const char* key) {
    const MetadataValue* value = file.find(key);
    return value == nullptr || value->as_array() == nullptr ? std::nullopt : value->as_array()->strings();
  };
  const auto merges = strings("tokenizer.ggml.merges");
  if (!merges) return;
  const MetadataValue* type_value = file.find("tokenizer.ggml.token_type");
  const MetadataArray* type_array = type_value == nullptr ? nullptr : type_value->as_array();
  const auto types = type_array == nullptr ? std::nullopt : type_array->integers();
  const auto is_normal = [&](size_t id) { return !types || id >= types->size() || (*types)[id] == kNormalToken; };

  std::unordered_map<std::string_view, size_t> id_of;
  for (size_t id = 0; id < tokens.size(); ++id) id_of.emplace(tokens[id], id);
  std::unordered_set<std::string_view> seen;
  std::vector<bool> made(tokens.size(), false);
  Exceptions twice, early, odd, orphans;
  size_t last = 0;
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string_view merge = (*merges)[i];
    if (!seen.insert(merge).second) twice.add(i);
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) continue;  // the tokenizer's check says so
    const auto id = id_of.find(std::string(merge.substr(0, space)) + std::string(merge.substr(space + 1)));
    if (id == id_of.end()) continue;
    if (id->second < last) early.add(i);
    if (!is_normal(id->second)) odd.add(id->second);
    last = id->second;
    made[id->second] = true;
  }
  size_t normal = 0;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!is_normal(id)) continue;
    ++normal;
    const auto is_start = [](char c) { return (uint8_t(c) & 0xc0) != 0x80; };
    if (!made[id] && std::ranges::count_if(tokens[id], is_start) != 1) orphans.add(id);
  }
  const auto merge_text = [&](size_t i) { return fmt::format("merge {} ('{}')", i, printable((*merges)[i])); };
  const auto token_text = [&](size_t id) { return fmt::format("token {} ('{}')", id, printable(tokens[id])); };
  twice.report(merges->size(), findings, [&](size_t i) { return merge_text(i) + " is there twice"; });
  early.report(merges->size(), findings,
               [&](size_t i) { return merge_text(i) + " makes a token before that of the merge before it"; });
  odd.report(merges->size(), findings,
             [&](size_t id) { return token_text(id) + " is made by a merge, but is no normal token by its type"; });
  orphans.report(normal, findings, [&](size_t id) { return token_text(id) + " is normal, but no merge makes it"; });
}

}  // namespace

void check_vocabulary(const GgufFile& file, Findings& findings) {
  const MetadataValue* value = file.find("tokenizer.ggml.tokens");
  const MetadataArray* array = value == nullptr ? nullptr : value->as_array();
  const auto tokens = array == nullptr ? std::nullopt : array->strings();
  if (!tokens) return;  // a required key of the architecture, if at all
  for (const char* key : {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    const MetadataValue* other = file.find(key);
    if (other != nullptr && other->as_array() != nullptr && other->as_array()->size() != tokens->size())
      findings.failed(fmt::format("{} has {} values for {} tokens", key, other->as_array()->size(), tokens->size()));
  }
  check_token_types(file, findings);
  std::unordered_set<std::string_view> seen;
  size_t twice = 0;
  for (const std::string_view token : *tokens) twice += seen.insert(token).second ? 0 : 1;
  if (twice > 0) findings.warn(fmt::format("{} tokens of the vocabulary appear more than once", twice));
  const auto arch = file.get_string("general.architecture");
  const auto size = arch ? file.get_unsigned(std::string(*arch) + ".vocab_size") : Result<uint64_t>(0);
  if (arch && size && *size != tokens->size())
    findings.warn(fmt::format("{}.vocab_size is {}, but there are {} tokens", *arch, *size, tokens->size()));
  if (file.get_string_or("tokenizer.ggml.model", "").value_or("") == "gpt2") check_merges(file, *tokens, findings);
}

}  // namespace metallic
