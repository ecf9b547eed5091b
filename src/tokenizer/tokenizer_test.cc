#include "metallic/tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <thread>

#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/spm.h"

namespace metallic {
namespace {

using Ids = std::vector<TokenId>;

// All 256 bytes, ids 0 to 255, then the results of `merges`, then `special`.
Vocab byte_vocab(const std::vector<std::string>& merges = {},
                 const std::vector<std::pair<std::string, TokenType>>& special = {}) {
  Vocab vocab;
  vocab.pre_tokenizer = "gpt-2";
  for (int byte = 0; byte < 256; ++byte)
    append_utf8(vocab.tokens.emplace_back(), ByteAlphabet::get().code_point(uint8_t(byte)));
  for (const std::string& merge : merges) {
    const size_t space = merge.find(' ', 1);
    vocab.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  vocab.merges = merges;
  vocab.types.assign(vocab.tokens.size(), TokenType::kNormal);
  for (const auto& [text, type] : special) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(type);
  }
  return vocab;
}

// <unk> <s> </s>, the 256 byte tokens, then `pieces` with falling scores.
Vocab spm_vocab(const std::vector<std::string>& pieces) {
  Vocab vocab;
  vocab.kind = TokenizerKind::kSentencePiece;
  vocab.tokens = {"<unk>", "<s>", "</s>"};
  vocab.types = {TokenType::kUnknown, TokenType::kControl, TokenType::kControl};
  vocab.unknown = 0, vocab.bos = 1, vocab.eos = 2;
  for (int byte = 0; byte < 256; ++byte) {
    vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
    vocab.types.push_back(TokenType::kByte);
  }
  for (const std::string& piece : pieces) {
    vocab.tokens.push_back(piece);
    vocab.types.push_back(TokenType::kNormal);
  }
  for (size_t i = 0; i < vocab.tokens.size(); ++i) vocab.scores.push_back(-float(i));
  return vocab;
}

Tokenizer make(Vocab vocab) { return std::move(Tokenizer::create(std::move(vocab)).value()); }

std::string random_utf8(std::mt19937& random, size_t longest) {
  std::string text;
  for (size_t length = random() % longest; length > 0; --length) {
    const uint32_t limit = std::array{0x80u, 0x80u, 0x500u, 0x10000u, 0x110000u}[random() % 5];
    const uint32_t c = random() % limit;
    append_utf8(text, c >= 0xd800 && c < 0xe000 ? ' ' : c);
  }
  return text;
}

TEST(Bpe, AppliesTheBestMergeFirstAndOfEqualOnesTheLeftmost) {
  const Tokenizer tokenizer = make(byte_vocab({"b c", "a b", "a a"}));
  EXPECT_EQ(tokenizer.encode("abc").value(), (Ids{'a', 256}));
  EXPECT_EQ(tokenizer.encode("ab").value(), (Ids{257}));
  EXPECT_EQ(tokenizer.encode("aaa").value(), (Ids{258, 'a'}));
}

// One merge at a time, on the whole word: slow and obvious.
Ids merge_slowly(const Vocab& vocab, std::string_view word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  for (;;) {
    size_t best = vocab.merges.size(), where = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = std::ranges::find(vocab.merges, symbols[i] + " " + symbols[i + 1]);
      if (size_t(found - vocab.merges.begin()) < best) best = size_t(found - vocab.merges.begin()), where = i;
    }
    if (best == vocab.merges.size()) break;
    symbols[where] += symbols[where + 1];
    symbols.erase(symbols.begin() + std::ptrdiff_t(where) + 1);
  }
  Ids ids;
  for (const std::string& symbol : symbols)
    ids.push_back(TokenId(std::ranges::find(vocab.tokens, symbol) - vocab.tokens.begin()));
  return ids;
}

TEST(Bpe, AgreesWithTheObviousAlgorithmOnShortAndLongWords) {
  std::mt19937 random(5);
  std::vector<std::string> symbols = {"a", "b", "c"}, merges;
  while (merges.size() < 40) {
    const std::string left = symbols[random() % symbols.size()], right = symbols[random() % symbols.size()];
    if (std::ranges::find(symbols, left + right) != symbols.end()) continue;
    symbols.push_back(left + right);
    merges.push_back(left + " " + right);
  }
  const Vocab vocab = byte_vocab(merges);
  const Tokenizer tokenizer = make(vocab);
  for (int i = 0; i < 2000; ++i) {
    std::string word(1 + random() % (i % 10 == 0 ? 200 : 40), ' ');
    for (char& c : word) c = char('a' + random() % 3);
    ASSERT_EQ(tokenizer.encode(word).value(), merge_slowly(vocab, word)) << word;
    ASSERT_EQ(tokenizer.encode(word).value(), merge_slowly(vocab, word)) << word << ", from the cache";
  }
}

TEST(Bpe, DecodingGivesTheTextBackForAllUtf8) {
  const Tokenizer tokenizer = make(byte_vocab({"Ġ t", "h e", "Ġt he", "Ã ©", "Ġ Ġ", "ĠĠ ĠĠ"}));
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_utf8(random, 60) + (i % 2 ? " the  é" : "");
    const Ids ids = tokenizer.encode(text).value();
    ASSERT_EQ(tokenizer.decode(ids).value(), text);
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) {
      const std::string part = stream.push(id);
      ASSERT_EQ(find_invalid_utf8(part), std::string::npos);
      streamed += part;
    }
    ASSERT_EQ(streamed + stream.finish(), text);
  }
}

TEST(Bpe, AByteWithoutATokenGivesNothingAndJoinsNothing) {
  Vocab vocab = byte_vocab({"a b"});
  vocab.tokens['!'] = "unused";
  const Tokenizer tokenizer = make(vocab);
  EXPECT_EQ(tokenizer.encode("!").value(), Ids{});
  EXPECT_EQ(tokenizer.encode("?!?").value(), (Ids{'?', '?'}));
}

TEST(Bpe, IgnoreMergesTakesAWholeWordThatIsAToken) {
  Vocab vocab = byte_vocab({"a b"}, {{"xyz", TokenType::kNormal}});
  EXPECT_EQ(make(vocab).encode("xyz").value(), (Ids{'x', 'y', 'z'}));
  vocab.ignore_merges = true;
  EXPECT_EQ(make(vocab).encode("xyz").value(), (Ids{257}));
}

TEST(Bpe, AMegabyteWithoutSpacesTakesNoQuadraticTime) {
  const Tokenizer tokenizer = make(byte_vocab({"a a", "aa aa", "aaaa aaaa", "a b"}));
  EXPECT_EQ(tokenizer.encode(std::string(1 << 20, 'a')).value().size(), size_t{1} << 17);
  std::string mixed;
  std::mt19937 random(2);
  while (mixed.size() < 1 << 20) mixed += char('a' + random() % 3);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(mixed).value()).value(), mixed);
}

TEST(Spm, JoinsByScorePutsASpaceInFrontAndFallsBackToBytes) {
  const Tokenizer tokenizer = make(spm_vocab({"▁a", "ab", "▁", "a", "b", "é"}));
  EXPECT_EQ(tokenizer.encode("ab", {.add_special = false}).value(), (Ids{259, 263}));
  EXPECT_EQ(tokenizer.encode("é", {.add_special = false}).value(), (Ids{261, 264}));
  EXPECT_EQ(tokenizer.encode("ü", {.add_special = false}).value(), (Ids{261, 3 + 0xc3, 3 + 0xbc}));
  EXPECT_EQ(tokenizer.encode("", {.add_special = false}).value(), Ids{});
  EXPECT_EQ(tokenizer.decode(Ids{261, 3 + 0xc3, 3 + 0xbc}).value(), " ü");
}

TEST(Spm, TheSpacePrefixFollowsEachSpecialToken) {
  Vocab vocab = spm_vocab({"▁", "a"});
  vocab.add_bos = vocab.add_eos = true;
  const Tokenizer tokenizer = make(vocab);
  EXPECT_EQ(tokenizer.encode("a<s>a").value(), (Ids{1, 259, 260, 1, 259, 260, 2}));
  vocab.add_space_prefix = false;
  EXPECT_EQ(make(vocab).encode("a<s>a").value(), (Ids{1, 260, 1, 260, 2}));
}

TEST(Spm, ControlTokensAreNeverMadeFromPlainText) {
  const Tokenizer tokenizer = make(spm_vocab({"<", "s", ">", "<s", "▁"}));
  EXPECT_EQ(tokenizer.encode("<s>", {.add_special = false, .parse_special = false}).value(), (Ids{263, 262, 261}));
}

TEST(Spm, WithoutByteTokensTheUnknownTokenStandsForTheCharacter) {
  Vocab vocab = spm_vocab({"▁", "a"});
  for (size_t id = 3; id < 259; ++id) vocab.types[id] = TokenType::kUnused;
  EXPECT_EQ(make(vocab).encode("aüa", {.add_special = false}).value(), (Ids{259, 260, 0, 260}));
}

TEST(Spm, TokensAcrossWordsAreFoundToo) {
  const Tokenizer tokenizer = make(spm_vocab({"a▁", "a", "▁"}));
  EXPECT_EQ(tokenizer.encode("a a", {.add_special = false}).value(), (Ids{261, 259, 260}));
}

TEST(Spm, AMegabyteWithoutSpacesTakesNoQuadraticTime) {
  const Tokenizer tokenizer = make(spm_vocab({"aa", "aaaa", "a", "▁"}));
  EXPECT_EQ(tokenizer.encode(std::string(1 << 20, 'a'), {.add_special = false}).value().size(), (size_t{1} << 18) + 1);
}

TEST(SpecialTokens, ControlTokensNeedParseSpecialAndUserDefinedOnesDoNot) {
  const Tokenizer tokenizer =
      make(byte_vocab({}, {{"<|im_end|>", TokenType::kControl}, {"<t>", TokenType::kUserDefined}}));
  EXPECT_EQ(tokenizer.encode("a<t><|im_end|>").value(), (Ids{'a', 257, 256}));
  EXPECT_EQ(tokenizer.encode("<t><", {.parse_special = false}).value(), (Ids{257, '<'}));
  EXPECT_EQ(tokenizer.encode("<|im_end|>", {.parse_special = false}).value().size(), 10u);
}

TEST(SpecialTokens, ControlTokensAreHiddenUnlessAskedFor) {
  const Tokenizer tokenizer =
      make(byte_vocab({}, {{"<|im_end|>", TokenType::kControl}, {"<t>", TokenType::kUserDefined}}));
  EXPECT_EQ(tokenizer.decode(Ids{'a', 256, 257}).value(), "a<t>");
  EXPECT_EQ(tokenizer.decode(Ids{'a', 256, 257}, true).value(), "a<|im_end|><t>");
  EXPECT_EQ(tokenizer.piece(256), "");
  EXPECT_EQ(tokenizer.piece(256, true), "<|im_end|>");
  EXPECT_EQ(tokenizer.piece(-1, true), "");
  EXPECT_EQ(tokenizer.piece(258, true), "");
}

TEST(SpecialTokens, BosAndEosAreAddedAsTheVocabularySays) {
  Vocab vocab = byte_vocab({}, {{"<bos>", TokenType::kControl}, {"<end>", TokenType::kControl}});
  vocab.bos = 256, vocab.eos = 257;
  EXPECT_EQ(make(vocab).encode("a").value(), (Ids{'a'}));
  vocab.add_bos = vocab.add_eos = true;
  EXPECT_EQ(make(vocab).encode("a").value(), (Ids{256, 'a', 257}));
  EXPECT_EQ(make(vocab).encode("").value(), (Ids{256, 257}));
  EXPECT_EQ(make(vocab).encode("a", {.add_special = false}).value(), (Ids{'a'}));
}

TEST(SpecialTokens, EndOfGenerationIsEosEndOfTurnAndWhatIsKnownByName) {
  Vocab vocab = byte_vocab({}, {{"<x>", TokenType::kControl},
                                {"<y>", TokenType::kControl},
                                {"<|im_end|>", TokenType::kNormal},
                                {"<fim_prefix>", TokenType::kNormal},
                                {"</s>", TokenType::kUserDefined}});
  vocab.eos = 256, vocab.end_of_turn = 257;
  const Tokenizer tokenizer = make(vocab);
  for (const TokenId id : {256, 257, 258}) EXPECT_TRUE(tokenizer.is_end_of_generation(id)) << id;
  for (const TokenId id : {-1, 65, 259, 260, 261}) EXPECT_FALSE(tokenizer.is_end_of_generation(id)) << id;
  for (const TokenId id : {256, 257, 258, 259}) EXPECT_TRUE(tokenizer.is_control(id)) << id;
  for (const TokenId id : {-1, 65, 260, 261}) EXPECT_FALSE(tokenizer.is_control(id)) << id;
}

TEST(Find, GivesTheIdOfExactlyThisVocabularyText) {
  const Tokenizer bpe =
      make(byte_vocab({"Ġ a"}, {{"<|im_end|>", TokenType::kControl}, {"  ", TokenType::kUserDefined}}));
  EXPECT_EQ(bpe.find("Ġa"), 256);
  EXPECT_EQ(bpe.find(" a"), kNoToken);
  EXPECT_EQ(bpe.find("<|im_end|>"), 257);
  EXPECT_EQ(bpe.find("  "), 258);
  EXPECT_EQ(bpe.find(""), kNoToken);
  const Tokenizer spm = make(spm_vocab({"▁a"}));
  EXPECT_EQ(spm.find("▁a"), 259);
  EXPECT_EQ(spm.find("<0x0A>"), 13);
  EXPECT_EQ(spm.find("<s>"), 1);
}

TEST(Find, OfEqualTokensTheFirstWins) {
  Vocab vocab = byte_vocab({"a b"}, {{"ab", TokenType::kNormal}});
  const Tokenizer tokenizer = make(vocab);
  EXPECT_EQ(tokenizer.find("ab"), 256);
  EXPECT_EQ(tokenizer.encode("ab").value(), (Ids{256}));
  EXPECT_EQ(tokenizer.decode(Ids{257}).value(), "ab");
}

std::string error_of(Vocab vocab, ErrorCode code) {
  const auto tokenizer = Tokenizer::create(std::move(vocab));
  if (tokenizer) return "no error";
  EXPECT_EQ(tokenizer.error().code, code);
  return tokenizer.error().message;
}

TEST(Create, RefusesWhatMakesNoSense) {
  EXPECT_EQ(error_of({}, ErrorCode::kCorrupt), "the vocabulary is empty");
  Vocab vocab = byte_vocab();
  vocab.pre_tokenizer = "qwen99";
  EXPECT_NE(error_of(vocab, ErrorCode::kUnsupported).find("\"qwen99\"; known are a.x-4.0, "), std::string::npos);
  vocab = byte_vocab();
  vocab.merges = {"a b"};
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "merge 0, \"a b\": what it makes is not in the vocabulary");
  vocab.merges = {"ab c"};
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "merge 0, \"ab c\": its left half is not in the vocabulary");
  for (const char* merge : {"", " ", "ab", "a ", " a", "a 我"}) {
    vocab.merges = {merge};
    EXPECT_NE(error_of(vocab, ErrorCode::kCorrupt), "no error") << merge;
  }
  vocab = byte_vocab();
  vocab.eos = 256;
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "the EOS token is 256, but the vocabulary's ids are 0 to 255");
  vocab = byte_vocab();
  vocab.add_bos = true;
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "BOS is to be added, but there is no BOS token");
  vocab = byte_vocab();
  vocab.types.pop_back();
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "256 tokens but 255 token types");
  vocab = spm_vocab({"a"});
  vocab.scores.pop_back();
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "260 tokens but 259 scores");
  vocab = spm_vocab({"a"});
  vocab.scores[7] = std::nanf("");
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt), "the score of token 7 is not a number");
  vocab = spm_vocab({"a"});
  vocab.tokens[10] = "<0xZZ>";
  EXPECT_EQ(error_of(vocab, ErrorCode::kCorrupt),
            "token 10 is \"<0xZZ>\", of type byte; expected \"<0x00>\" to \"<0xFF>\"");
}

TEST(Encode, RefusesWhatIsNotUtf8AndSaysWhere) {
  const auto ids = make(byte_vocab()).encode("ab\xff");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(ids.error().message, "the text is not UTF-8: byte 0xff at offset 2 starts no character");
}

TEST(Decode, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer tokenizer = make(byte_vocab());
  for (const TokenId id : {-1, 256, 1 << 30}) {
    const auto text = tokenizer.decode(Ids{65, id});
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, ErrorCode::kOutOfRange);
  }
}

TEST(StreamDecoder, KeepsBackWhatMayBecomeACharacterAndReplacesWhatCannot) {
  const Tokenizer tokenizer = make(byte_vocab());
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.push(0xac), "€");
  EXPECT_EQ(stream.push(0xff), "\ufffd");
  EXPECT_EQ(stream.push(0xc3), "");
  EXPECT_EQ(stream.push('a'), "\ufffda");
  EXPECT_EQ(stream.push(0xf0), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, GivesWhatDecodeGivesForRandomIds) {
  const Tokenizer tokenizer = make(byte_vocab({"Ã ©", "â Ĥ"}, {{"<|im_end|>", TokenType::kControl}}));
  std::mt19937 random(9);
  for (int i = 0; i < 3000; ++i) {
    Ids ids(random() % 20);
    for (TokenId& id : ids) id = TokenId(random() % size_t(tokenizer.size()));
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) streamed += stream.push(id);
    ASSERT_EQ(streamed + stream.finish(), replace_invalid_utf8(tokenizer.decode(ids).value()));
  }
}

TEST(Tokenizer, EncodesFromManyThreadsAtOnce) {
  const Tokenizer tokenizer = make(byte_vocab({"Ġ t", "h e", "Ġt he"}));
  const std::string text = "the the other theme, and then the end";
  const Ids expected = tokenizer.encode(text).value();
  std::vector<std::thread> threads;
  std::array<bool, 4> good{};
  for (bool& result : good) {
    threads.emplace_back([&] {
      result = true;
      for (int i = 0; i < 500; ++i) result = result && tokenizer.encode(text).value() == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const bool result : good) EXPECT_TRUE(result);
}

TEST(ByteToken, IsParsedStrictly) {
  EXPECT_EQ(parse_byte_token("<0x0A>"), 10);
  EXPECT_EQ(parse_byte_token("<0xfF>"), 255);
  for (const char* text : {"", "<0x0A", "<0x0A>>", "<0xG0>", "<0x 1>", "0x0A", "<1x0A>"})
    EXPECT_EQ(parse_byte_token(text), -1) << text;
}

}  // namespace
}  // namespace metallic
