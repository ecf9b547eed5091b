#include "model/vocab_from_gguf.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"

namespace metallic {
namespace {

// Pre-tokenisers whose models take a whole word that is a token as it is, and start every text with BOS, unless the
// file says otherwise.
constexpr auto kLlama3Like = std::to_array<std::string_view>(
    {"falcon-h1", "falcon3", "jina-v5-nano", "lfm2", "llama-bpe", "llama-v3", "llama3", "midm-2.0", "pixtral"});

Status read_tokens(const GgufFile& file, Vocab& vocab) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  METALLIC_ASSIGN(const MetadataArray* array, file.get_array(kKey));
  const auto strings = array->strings();
  if (!strings) return fail(ErrorCode::kCorrupt, "{}: {} is not an array of strings", file.path(), kKey);
  vocab.tokens.assign(strings->begin(), strings->end());
  return {};
}

Status read_types(const GgufFile& file, Vocab& vocab) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  if (file.find(kKey) == nullptr) return {};
  METALLIC_ASSIGN(const MetadataArray* array, file.get_array(kKey));
  const auto types = array->integers();
  if (!types) return fail(ErrorCode::kCorrupt, "{}: {} is not an array of integers", file.path(), kKey);
  const auto to_type = [](int64_t type) {
    return type >= 0 && type <= int64_t(TokenType::kByte) ? TokenType(type) : TokenType::kUndefined;
  };
  vocab.types.resize(types->size());
  std::ranges::transform(*types, vocab.types.begin(), to_type);
  return {};
}

Status read_scores(const GgufFile& file, Vocab& vocab) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  METALLIC_ASSIGN(const MetadataArray* array, file.get_array(kKey));
  const auto scores = array->numbers();
  if (!scores) return fail(ErrorCode::kCorrupt, "{}: {} is not an array of numbers", file.path(), kKey);
  vocab.scores.assign(scores->begin(), scores->end());
  return {};
}

Status read_merges(const GgufFile& file, Vocab& vocab) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  METALLIC_ASSIGN(const MetadataArray* array, file.get_array(kKey));
  const auto strings = array->strings();
  if (!strings) return fail(ErrorCode::kCorrupt, "{}: {} is not an array of strings", file.path(), kKey);
  vocab.merges.assign(strings->begin(), strings->end());
  return {};
}

// `id` keeps its value where the file has no such key. -1, which some writers use for "none", is none.
Status read_id(const GgufFile& file, std::string_view key, size_t tokens, TokenId& id) {
  const MetadataValue* value = file.find(key);
  if (value == nullptr) return {};
  const std::optional<int64_t> number = value->as_signed();
  const bool none = number == -1 || number == std::numeric_limits<uint32_t>::max();
  if (!number || (!none && (*number < 0 || size_t(*number) >= tokens))) {
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; expected a token id, 0 to {}", file.path(), key,
                number ? std::to_string(*number) : "no integer", tokens - 1);
  }
  id = none ? kNoToken : TokenId(*number);
  return {};
}

Status read_ids(const GgufFile& file, Vocab& vocab) {
  const std::pair<std::string_view, TokenId*> keys[] = {{"tokenizer.ggml.bos_token_id", &vocab.bos},
                                                        {"tokenizer.ggml.eos_token_id", &vocab.eos},
                                                        {"tokenizer.ggml.unknown_token_id", &vocab.unknown},
                                                        {"tokenizer.ggml.padding_token_id", &vocab.padding},
                                                        {"tokenizer.ggml.eot_token_id", &vocab.end_of_turn}};
  for (const auto& [key, id] : keys) METALLIC_TRY(read_id(file, key, vocab.tokens.size(), *id));
  return {};
}

// The defaults hold for a model whose vocabulary has such a token.
void set_spm_defaults(Vocab& vocab) {
  const auto id_if_present = [&](TokenId id) { return size_t(id) < vocab.tokens.size() ? id : kNoToken; };
  vocab.unknown = id_if_present(0);
  vocab.bos = id_if_present(1);
  vocab.eos = id_if_present(2);
}

}  // namespace

Result<Vocab> vocab_from_gguf(const GgufFile& file) {
  Vocab vocab;
  METALLIC_ASSIGN(const std::string_view model, file.get_string("tokenizer.ggml.model"));
  if (model != "gpt2" && model != "llama") {
    return fail(
        ErrorCode::kUnsupported,
        "{}: tokenizer.ggml.model is \"{}\"; known are \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece BPE)",
        file.path(), model);
  }
  METALLIC_TRY(read_tokens(file, vocab));
  METALLIC_TRY(read_types(file, vocab));
  if (model == "gpt2") {
    vocab.kind = TokenizerKind::kBytePairEncoding;
    METALLIC_ASSIGN(vocab.pre_tokenizer, file.get_string_or("tokenizer.ggml.pre", "default"));
    METALLIC_TRY(read_merges(file, vocab));
    vocab.ignore_merges = std::ranges::binary_search(kLlama3Like, vocab.pre_tokenizer);
  } else {
    vocab.kind = TokenizerKind::kSentencePiece;
    METALLIC_TRY(read_scores(file, vocab));
    set_spm_defaults(vocab);
  }
  METALLIC_TRY(read_ids(file, vocab));
  const bool spm = vocab.kind == TokenizerKind::kSentencePiece;
  const bool bos_by_default = vocab.bos != kNoToken && (spm || vocab.ignore_merges);
  METALLIC_ASSIGN(vocab.add_bos, file.get_bool_or("tokenizer.ggml.add_bos_token", bos_by_default));
  METALLIC_ASSIGN(vocab.add_eos, file.get_bool_or("tokenizer.ggml.add_eos_token", false));
  METALLIC_ASSIGN(vocab.add_space_prefix, file.get_bool_or("tokenizer.ggml.add_space_prefix", spm));
  return vocab;
}

}  // namespace metallic
