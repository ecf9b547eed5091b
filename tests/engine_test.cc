// The engine as its users see it, on tiny models.
#include "metallic/engine.h"

#include <unistd.h>

#include "backend/test_support.h"
#include "support/golden.h"

namespace metallic {
namespace {

using testing::model_path;

std::unique_ptr<Engine> load(EngineOptions options = {}, const std::string& name = "qwen2.gguf") {
  options.threads = 1;
  if (options.context == 0) options.context = 64;
  auto engine = Engine::load(model_path(name), options);
  EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
  return engine ? std::move(*engine) : nullptr;
}

Request greedy(std::vector<TokenId> prompt, int max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.ignore_end = true;
  return request;
}

TEST(Engine, EndsAtTheLengthThatWasAskedFor) {
  auto engine = load();
  const auto completion = engine->generate(greedy({5, 6, 7}, 9));
  ASSERT_TRUE(completion) << completion.error().message;
  EXPECT_EQ(completion->tokens.size(), 9u);
  EXPECT_EQ(completion->reason, FinishReason::kLength);
  EXPECT_EQ(completion->prompt_tokens, 3);
  EXPECT_EQ(engine->generate(greedy({5, 6, 7}, 0))->tokens.size(), 0u);
}

TEST(Engine, EndsWhenTheContextIsFull) {
  auto engine = load();
  const auto completion = engine->generate(greedy({5, 6, 7}, -1));
  ASSERT_TRUE(completion);
  EXPECT_EQ(completion->tokens.size(), 61u);
  EXPECT_EQ(completion->reason, FinishReason::kContext);
}

TEST(Engine, TheStreamedTextIsTheTextOfTheCompletion) {
  auto engine = load();
  std::string streamed;
  Request request = greedy({5, 6, 7}, 30);
  request.on_text = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const auto completion = engine->generate(std::move(request));
  ASSERT_TRUE(completion);
  EXPECT_FALSE(streamed.empty());
  EXPECT_EQ(streamed, completion->text);
}

TEST(Engine, AStopStringEndsTheTextBeforeIt) {
  auto engine = load();
  const std::string whole = engine->generate(greedy({5, 6, 7}, 30))->text;
  ASSERT_GE(whole.size(), 8u);
  const std::string stop = whole.substr(4, 3);
  Request request = greedy({5, 6, 7}, 30);
  request.stop = {"never to be seen", stop};
  std::string streamed;
  request.on_text = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const auto completion = engine->generate(std::move(request));
  EXPECT_EQ(completion->reason, FinishReason::kStopString);
  EXPECT_EQ(completion->text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(streamed, completion->text);
}

TEST(Engine, ACallerCanStopAnAnswerAndTheNextOneWorks) {
  auto engine = load();
  Request request = greedy({5, 6, 7}, 30);
  int pieces = 0;
  request.on_text = [&](std::string_view) { return ++pieces < 3; };
  EXPECT_EQ(engine->generate(std::move(request))->reason, FinishReason::kCancelled);
  request = greedy({5, 6, 7}, 30);
  request.should_stop = [] { return true; };
  EXPECT_EQ(engine->generate(std::move(request))->reason, FinishReason::kCancelled);
  EXPECT_EQ(engine->generate(greedy({5, 6, 7}, 5))->tokens.size(), 5u);
}

TEST(Engine, BadRequestsAreRefusedAndSayWhy) {
  auto engine = load();
  const auto error = [&](Request request) { return engine->submit(std::move(request)).error(); };
  EXPECT_EQ(error(greedy({}, 5)).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(error(greedy({1, -1}, 5)).code, ErrorCode::kOutOfRange);
  EXPECT_NE(error(greedy({1, 1 << 30}, 5)).message.find("1073741824"), std::string::npos);
  EXPECT_EQ(error(greedy(std::vector<TokenId>(64, 1), 5)).code, ErrorCode::kOutOfRange);
  EXPECT_EQ(error(greedy({1}, -2)).code, ErrorCode::kInvalidArgument);
  Request request = greedy({1}, 5);
  request.sampling.top_p = 2;
  EXPECT_NE(error(request).message.find("top-p"), std::string::npos);
  EXPECT_TRUE(engine->idle());
  EXPECT_EQ(engine->take(17).error().code, ErrorCode::kNotFound);
}

TEST(Engine, MoreRequestsThanSequencesWaitTheirTurn) {
  EngineOptions options;
  options.max_sequences = 2;
  auto engine = load(options);
  std::vector<RequestId> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(*engine->submit(greedy({TokenId(i + 1), 2, 3}, 6)));
  while (!engine->idle()) ASSERT_TRUE(engine->step());
  for (const RequestId id : ids) EXPECT_EQ(engine->take(id)->tokens.size(), 6u);
}

TEST(Engine, AChatPromptFollowsTheTemplateOfTheFile) {
  auto engine = load();
  const std::vector<ChatMessage> messages = {{"system", "Be brief."}, {"user", "Hi"}};
  const auto prompt = engine->chat_prompt(messages);
  ASSERT_TRUE(prompt) << prompt.error().message;
  const Tokenizer& tokenizer = **engine->tokenizer();
  EXPECT_EQ(*tokenizer.decode(*prompt, true),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(prompt->front(), tokenizer.find("<|im_start|>"));
}

TEST(Engine, BadOptionsAreRefused) {
  EngineOptions options;
  options.context = -1;
  EXPECT_FALSE(Engine::load(model_path("qwen2.gguf"), options));
  options = {};
  options.kv_formats = Format::kQ4_K;
  EXPECT_EQ(Engine::load(model_path("qwen2.gguf"), options).error().code, ErrorCode::kUnsupported);
  options = {};
  options.backend = "abacus";
  EXPECT_NE(Engine::load(model_path("qwen2.gguf"), options).error().message.find("reference"), std::string::npos);
  EXPECT_EQ(Engine::load("/nonexistent.gguf").error().code, ErrorCode::kNotFound);
}

// There the engine starts a step before it knows what the one ahead has chosen.
TEST(CudaEngine, AnswersAsTheReferenceDoesAloneAndInCompany) {
  METALLIC_SKIP_IF_ABSENT("cuda");
  const auto answers = [](const std::string& device, bool together) {
    EngineOptions options;
    options.backend = device;
    options.max_sequences = together ? 4 : 1;
    const auto engine = load(options);
    std::vector<RequestId> ids;
    std::vector<std::vector<TokenId>> tokens;
    int pieces = 0;
    for (int i = 0; i < 7; ++i) {
      Request request = greedy({5 + i, 6, 7}, i == 0 ? 1 : 2 + 5 * i);
      if (i % 3 == 1) request.sampling = {};
      request.sampling.seed = uint64_t(i);
      if (i == 4) request.sampling.repeat_penalty = 1.3f;  // depends on what was chosen
      if (i == 5) request.on_text = [&pieces](std::string_view) { return ++pieces < 3; };
      const auto id = engine->submit(std::move(request));
      EXPECT_TRUE(id);
      ids.push_back(*id);
      while (!together && !engine->idle()) EXPECT_TRUE(engine->step());
    }
    while (!engine->idle()) EXPECT_TRUE(engine->step());
    for (const RequestId id : ids) tokens.push_back(engine->take(id)->tokens);
    return tokens;
  };
  const auto expected = answers("reference", false);
  EXPECT_EQ(answers("cuda-reproducible", false), expected);
  EXPECT_EQ(answers("cuda-reproducible", true), expected);
}

}  // namespace
}  // namespace metallic
