#include "model/vocab_from_gguf.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"

namespace metallic {
namespace {

// Pre-tokenisers whose models take a whole word that is a token as it is.
constexpr auto kMergesIgnored = std::to_array<std::string_view>(
    {"falcon-h1", "falcon3", "granite-embed-multi-97m", "jina-v5-nano", "lfm2", "llama-bpe", "llama-v3", "llama3",
     "midm-2.0", "minicpm5", "pixtral", "tekken", "youtu"});

// Those whose models start every text with BOS, unless the file says otherwise.
constexpr auto kBosByDefault =
    std::to_array<std::string_view>({"chameleon", "falcon-h1", "falcon3", "jina-v5-nano", "lfm2", "llama-bpe",
                                     "llama-v3", "llama3", "midm-2.0", "pixtral", "tekken"});

Status read_tokens(const GgufFile& file, Vocab& vocab) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  METALLIC_ASSIGN(const MetadataArray* array, file.get_array(kKey));
  const auto strings = array->strings();
  if (!strings) return fail(ErrorCode::kCorrupt, "{}: {} is not an array of strings", file.path(), kKey);
  if (strings->empty()) return fail(ErrorCode::kCorrupt, "{}: {} is empty", file.path(), kKey);
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

// tokenizer.ggml.model and what it means.
struct Model {
  std::string_view name;
  TokenizerKind kind;
  // The ids where the file names none, for a vocabulary that has such tokens.
  TokenId bos, eos, unknown, padding;
};

constexpr auto kModels = std::to_array<Model>({
    {"gpt2", TokenizerKind::kBytePairEncoding, kNoToken, kNoToken, kNoToken, kNoToken},
    {"llama", TokenizerKind::kSentencePiece, 1, 2, 0, kNoToken},
    {"bert", TokenizerKind::kWordPiece, 101, 102, 100, 0},
    {"t5", TokenizerKind::kUnigram, kNoToken, 1, 2, 0},
    {"rwkv", TokenizerKind::kLongestMatch, kNoToken, kNoToken, kNoToken, kNoToken},
});

Result<Model> find_model(const GgufFile& file) {
  METALLIC_ASSIGN(const std::string_view name, file.get_string("tokenizer.ggml.model"));
  const auto found = std::ranges::find(kModels, name, &Model::name);
  if (found != kModels.end()) return *found;
  return fail(ErrorCode::kUnsupported,
              "{}: tokenizer.ggml.model is \"{}\"; known are \"gpt2\" (byte-level BPE), \"llama\" (SentencePiece BPE), "
              "\"bert\" (WordPiece), \"t5\" (unigram) and \"rwkv\" (longest match)",
              file.path(), name);
}

void set_default_ids(const Model& model, Vocab& vocab) {
  const auto id_if_present = [&](TokenId id) { return size_t(id) < vocab.tokens.size() ? id : kNoToken; };
  vocab.bos = id_if_present(model.bos);
  vocab.eos = id_if_present(model.eos);
  vocab.unknown = id_if_present(model.unknown);
  vocab.padding = id_if_present(model.padding);
}

Status read_byte_pair_keys(const GgufFile& file, Vocab& vocab) {
  METALLIC_ASSIGN(vocab.pre_tokenizer, file.get_string_or("tokenizer.ggml.pre", "default"));
  METALLIC_TRY(read_merges(file, vocab));
  vocab.ignore_merges = std::ranges::binary_search(kMergesIgnored, vocab.pre_tokenizer);
  const bool bos = vocab.bos != kNoToken && std::ranges::binary_search(kBosByDefault, vocab.pre_tokenizer);
  METALLIC_ASSIGN(vocab.add_bos, file.get_bool_or("tokenizer.ggml.add_bos_token", bos));
  METALLIC_ASSIGN(vocab.add_eos, file.get_bool_or("tokenizer.ggml.add_eos_token", false));
  METALLIC_ASSIGN(vocab.add_space_prefix, file.get_bool_or("tokenizer.ggml.add_space_prefix", false));
  return {};
}

Status read_sentence_piece_keys(const GgufFile& file, Vocab& vocab) {
  METALLIC_TRY(read_scores(file, vocab));
  METALLIC_ASSIGN(vocab.add_bos, file.get_bool_or("tokenizer.ggml.add_bos_token", vocab.bos != kNoToken));
  METALLIC_ASSIGN(vocab.add_eos, file.get_bool_or("tokenizer.ggml.add_eos_token", false));
  METALLIC_ASSIGN(vocab.add_space_prefix, file.get_bool_or("tokenizer.ggml.add_space_prefix", true));
  return {};
}

Status read_unigram_keys(const GgufFile& file, Vocab& vocab) {
  METALLIC_TRY(read_scores(file, vocab));
  METALLIC_ASSIGN(vocab.add_bos, file.get_bool_or("tokenizer.ggml.add_bos_token", false));
  METALLIC_ASSIGN(vocab.add_eos, file.get_bool_or("tokenizer.ggml.add_eos_token", vocab.eos != kNoToken));
  METALLIC_ASSIGN(vocab.add_space_prefix, file.get_bool_or("tokenizer.ggml.add_space_prefix", true));
  METALLIC_ASSIGN(vocab.remove_extra_spaces, file.get_bool_or("tokenizer.ggml.remove_extra_whitespaces", true));
  METALLIC_ASSIGN(vocab.escape_spaces, file.get_bool_or("tokenizer.ggml.escape_whitespaces", true));
  METALLIC_ASSIGN(vocab.space_as_suffix, file.get_bool_or("tokenizer.ggml.treat_whitespace_as_suffix", false));
  constexpr std::string_view kKey = "tokenizer.ggml.precompiled_charsmap";
  if (file.find(kKey) == nullptr) return {};
  METALLIC_ASSIGN(const MetadataArray* array, file.get_array(kKey));
  const auto bytes = array->integers();
  if (!bytes) return fail(ErrorCode::kCorrupt, "{}: {} is not an array of bytes", file.path(), kKey);
  for (const int64_t byte : *bytes) vocab.character_map += char(byte);
  return {};
}

// What stands around a text: [CLS] in front, under either name, and [SEP] behind.
Status read_word_piece_keys(const GgufFile& file, Vocab& vocab) {
  const size_t count = vocab.tokens.size();
  METALLIC_TRY(read_id(file, "tokenizer.ggml.cls_token_id", count, vocab.bos));
  METALLIC_TRY(read_id(file, "tokenizer.ggml.bos_token_id", count, vocab.bos));
  METALLIC_TRY(read_id(file, "tokenizer.ggml.seperator_token_id", count, vocab.eos));  // spelt so in the format
  METALLIC_TRY(read_id(file, "tokenizer.ggml.separator_token_id", count, vocab.eos));
  METALLIC_ASSIGN(vocab.add_bos, file.get_bool_or("tokenizer.ggml.add_bos_token", vocab.bos != kNoToken));
  METALLIC_ASSIGN(vocab.add_eos, file.get_bool_or("tokenizer.ggml.add_sep_token", vocab.eos != kNoToken));
  vocab.add_space_prefix = false;
  METALLIC_ASSIGN(vocab.lowercase, file.get_bool_or("tokenizer.ggml.normalizer.lowercase", true));
  METALLIC_ASSIGN(vocab.strip_accents, file.get_bool_or("tokenizer.ggml.normalizer.strip_accents", vocab.lowercase));
  return {};
}

}  // namespace

Result<Vocab> vocab_from_gguf(const GgufFile& file) {
  Vocab vocab;
  METALLIC_ASSIGN(const Model model, find_model(file));
  vocab.kind = model.kind;
  METALLIC_TRY(read_tokens(file, vocab));
  METALLIC_TRY(read_types(file, vocab));
  set_default_ids(model, vocab);
  METALLIC_TRY(read_ids(file, vocab));
  switch (vocab.kind) {
    case TokenizerKind::kBytePairEncoding:
      METALLIC_TRY(read_byte_pair_keys(file, vocab));
      break;
    case TokenizerKind::kSentencePiece:
      METALLIC_TRY(read_sentence_piece_keys(file, vocab));
      break;
    case TokenizerKind::kWordPiece:
      METALLIC_TRY(read_word_piece_keys(file, vocab));
      break;
    case TokenizerKind::kUnigram:
      METALLIC_TRY(read_unigram_keys(file, vocab));
      break;
    case TokenizerKind::kLongestMatch:
      vocab.add_space_prefix = false;
      break;
  }
  return vocab;
}

}  // namespace metallic
