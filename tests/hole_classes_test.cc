// One test for each class of hole known in readers of model files that is not about the bytes of the header alone
// (those are in src/gguf/*_test.cc): what the metadata say is taken for what it is, and no file ends the process.
#include <unistd.h>

#include "engine/verify.h"
#include "metallic/engine.h"
#include "model/mlp.h"
#include "model/model.h"
#include "model/quantize_file.h"
#include "support/hole_files.h"

namespace metallic {
namespace {

using testing::ChangedFile;
using testing::model_path;
using testing::tensor_named;

// The error of loading a changed llama-tied, or of asking it for its tokenizer.
std::string error_of(const std::function<void(GgufWriter&)>& change) {
  const ChangedFile file(model_path("llama-tied.gguf"), [&](GgufWriter& writer, auto&) { change(writer); });
  const auto model = Model::load(file.path(), *open_backend("cpu", 1));
  if (!model) return model.error().message;
  const auto tokenizer = (*model)->tokenizer();
  return tokenizer ? "" : tokenizer.error().message;
}

void expect_error(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "'" << message << "' lacks '" << part << "'";
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(HoleClasses, ABlockCountOfTwoToThe31) {
  for (const uint32_t count : {0x80000000u, 0x7fffffffu, 0xffffffffu, 0u})
    expect_error(error_of([&](GgufWriter& w) { w.set_unsigned("llama.block_count", count); }), "llama.block_count");
}

TEST(HoleClasses, HeadCountsOfZeroOrNotDividing) {
  for (const uint32_t heads : {0u, 3u, 5u, 0x7fffffffu, 0x80000000u})
    EXPECT_NE(error_of([&](GgufWriter& w) { w.set_unsigned("llama.attention.head_count", heads); }), "") << heads;
  for (const uint32_t heads : {0u, 3u, 8u, 0x80000000u})
    EXPECT_NE(error_of([&](GgufWriter& w) { w.set_unsigned("llama.attention.head_count_kv", heads); }), "") << heads;
}

TEST(HoleClasses, SizesThatOverflowTogether) {
  EXPECT_NE(error_of([](GgufWriter& w) {
              w.set_unsigned("llama.attention.key_length", 0x7fffffff);
              w.set_unsigned("llama.attention.value_length", 0x7fffffff);
            }),
            "");
  EXPECT_NE(error_of([](GgufWriter& w) { w.set_unsigned("llama.embedding_length", 0x7fffffff); }), "");
}

TEST(HoleClasses, AVocabularyThatIsNotThatOfTheEmbedding) {
  std::vector<std::string> many(4000);
  for (size_t i = 0; i < many.size(); ++i) many[i] = "token" + std::to_string(i);
  EXPECT_NE(error_of([&](GgufWriter& w) {
              w.set_strings("tokenizer.ggml.tokens", many);
              w.set_ints("tokenizer.ggml.token_type", std::vector<int32_t>(many.size(), 1));
              w.set_strings("tokenizer.ggml.merges", {});
            }),
            "");
  EXPECT_NE(error_of([](GgufWriter& w) { w.set_strings("tokenizer.ggml.tokens", std::vector<std::string>{"a"}); }), "");
  EXPECT_NE(error_of([](GgufWriter& w) { w.set_strings("tokenizer.ggml.tokens", {}); }), "");
}

TEST(HoleClasses, IdsOutsideAVocabularySmallerThanTheIdsInUse) {
  const auto engine = Engine::load(model_path("llama-tied.gguf"), {.threads = 1});
  ASSERT_TRUE(engine);
  for (const TokenId id : {(*engine)->info().vocab, -1, INT32_MAX, INT32_MIN}) {
    Request request;
    request.prompt = {1, id};
    expect_error((*engine)->submit(std::move(request)).error().message, "vocabulary");
    EXPECT_FALSE((*engine)->evaluate(std::vector<TokenId>{id}, 0, [](int, auto) { return true; }));
  }
}

TEST(HoleClasses, MergesThatNameNoToken) {
  for (const char* merge : {"no such", "a", "", " ", "a  b", "a b c"})
    EXPECT_NE(error_of([&](GgufWriter& w) { w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{merge}); }),
              "")
        << merge;
}

TEST(HoleClasses, ByteTokensThatStandForNoByte) {
  for (const char* token : {"<0x-1>", "<0x100>", "<0xGG>", "<0x>", "<0x4>", "", "<0x1", "0x41"}) {
    Vocab vocab;
    vocab.kind = TokenizerKind::kSentencePiece;
    vocab.tokens = {"<unk>", "a", token};
    vocab.types = {TokenType::kUnknown, TokenType::kNormal, TokenType::kByte};
    vocab.scores = {0, 0, 0};
    vocab.unknown = 0;
    const auto tokenizer = Tokenizer::create(std::move(vocab));
    if (!tokenizer) continue;  // refused, or taken for a token without a byte
    const auto ids = tokenizer->encode("\x01 A\u00ff");
    ASSERT_TRUE(ids) << token;
    for (const TokenId id : *ids) EXPECT_NE(id, 2) << token;
    EXPECT_LE(tokenizer->piece(2, true).size(), std::string(token).size()) << token;
  }
}

TEST(HoleClasses, NegativeOrHugeSpecialIds) {
  for (const char* key : {"bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id", "eot_token_id"}) {
    const std::string name = std::string("tokenizer.ggml.") + key;
    for (const int64_t id : {int64_t(-2), int64_t(-2147483648), int64_t(277), int64_t(INT32_MAX), INT64_MIN, INT64_MAX})
      expect_error(error_of([&](GgufWriter& w) { w.set(name, MetadataType::kInt64, id); }), name);
    expect_error(error_of([&](GgufWriter& w) { w.set_string(name, "one"); }), name);
    EXPECT_EQ(error_of([&](GgufWriter& w) { w.set(name, MetadataType::kInt32, int64_t(-1)); }), "");  // none
  }
}

TEST(HoleClasses, CyclicOrExplodingTemplates) {
  const std::string deep_list(100000, '[');
  const std::string deep_call(100000, '(');
  const std::string templates[] = {
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% for a in range(1000000000000) %}x{% endfor %}",
      "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
      "{{ 'x' * 1000000000000 }}",
      "{{ [0] * 1000000000000 }}",
      "{{ 9 ** 9 ** 9 ** 9 }}",
      "{{ '%999999999999d' % 1 }}",
      "{{ '{:999999999999}'.format(1) }}",
      "{{ 'x' | center(1000000000000) }}",
      "{{ 'a' | indent(1000000000000, true) }}",
      "{{ " + deep_list,
      "{{ " + deep_call,
      "{{ " + std::string(100000, '-') + "1 }}",
      "{{ not " + std::string(100000, ' ') + " }}",
  };
  std::string nested;
  for (int i = 0; i < 20000; ++i) nested += "{% if true %}";
  const std::vector<ChatMessage> messages = {{"user", "hi"}};
  const auto try_template = [&](const std::string& source) {
    const auto chat = ChatTemplate::parse(source);
    const bool failed = !chat || !chat->render(messages, {});
    EXPECT_TRUE(failed) << source.substr(0, 80);
  };
  for (const std::string& source : templates) try_template(source);
  try_template(nested);
}

TEST(HoleClasses, ANetworkOrAQuantisationWhoseFileShrinks) {
  const TemporaryFolder folder;
  const std::string network = folder.file("network.gguf"), path = folder.file("model.gguf"), out = folder.file("out");
  std::filesystem::copy_file(model_path("mlp-softmax.gguf"), network);
  const auto mlp = Mlp::load(network, *open_backend("cpu", 1));
  ASSERT_TRUE(mlp) << mlp.error().message;
  ASSERT_EQ(::truncate(network.c_str(), 100), 0);
  const auto result = mlp->evaluate(std::vector<float>(size_t(mlp->inputs())));
  ASSERT_FALSE(result);
  expect_error(result.error().message, network);

  std::filesystem::copy_file(model_path("llama-tied.gguf"), path);
  QuantizeOptions options;
  options.type = "Q8_0";
  options.on_tensor = [&](const QuantizeProgress& progress) {
    if (progress.tensor == 2) {
      EXPECT_EQ(::truncate(path.c_str(), 8192), 0);
    }
  };
  const auto report = quantize_file(path, out, options);
  ASSERT_FALSE(report);
  expect_error(report.error().message, path + ": at byte 8192");
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(HoleClasses, AnyOfTheHeaderOrOfTheModelIsNotSound) {
  const TemporaryFolder folder;
  for (const auto& files : {testing::broken_headers(), testing::broken_models()})
    for (const testing::HoleFile& file : files)
      EXPECT_FALSE(verify_file(folder.write("hole.gguf", file.bytes), {.threads = 1}).sound()) << file.name;
}

TEST(HoleClasses, AFileThatShrinksWhileItRuns) {
  const ChangedFile file(model_path("llama-tied.gguf"), [](GgufWriter&, auto&) {});
  auto engine = Engine::load(file.path(), {.threads = 2});
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_EQ(::truncate(file.path().c_str(), 8192), 0);
  Request request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 4;
  request.ignore_end = true;
  const auto completion = (*engine)->generate(std::move(request));
  ASSERT_FALSE(completion);
  expect_error(completion.error().message, file.path());
}

}  // namespace
}  // namespace metallic
