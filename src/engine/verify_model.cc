// What needs a loaded model: text to ids and back, the chat template, and a few tokens evaluated.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/utf8.h"
#include "engine/evaluator.h"
#include "engine/verify_checks.h"

namespace metallic {
namespace {

constexpr std::string_view kSample =
    "The quick brown fox jumps over the lazy dog; 0123456789 (a+b)*c == \"d\"?\n\tint x = 42;  // done";
constexpr std::string_view kScripts =
    "na\u00efve \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u0420\u0443\u0441\u0441\u043a\u0438\u0439 "
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0939\u093f\u0928\u094d\u0926\u0940 "
    "\u0e44\u0e17\u0e22 \u4e2d\u6587 \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \U0001f642\U0001f9d1\u200d\U0001f680 "
    "\u221a2 \u2248 1.41\u20ac";

// WordPiece and unigram fold case, accents and spaces on purpose.
bool changes_text(const Tokenizer& tokenizer) {
  const TokenizerKind kind = tokenizer.vocab().kind;
  return kind == TokenizerKind::kWordPiece || kind == TokenizerKind::kUnigram;
}

// Empty if the text of a sample's ids gives the same ids again, and none of them is unknown.
std::string round_trip_of_ids(const Tokenizer& tokenizer, std::string_view sample) {
  const EncodeOptions options = {.add_special = false, .parse_special = false};
  const auto ids = tokenizer.encode(sample, options);
  if (!ids) return ids.error().message;
  const auto unknown = std::ranges::count(*ids, tokenizer.vocab().unknown);
  if (unknown > 0) return fmt::format("{} of its {} tokens are unknown", unknown, ids->size());
  const auto text = tokenizer.decode(*ids, true);
  if (!text) return text.error().message;
  const auto again = tokenizer.encode(*text, options);
  if (!again) return again.error().message;
  return *again == *ids ? "" : "its tokens are others when their text is read again";
}

// Empty if `text` comes back as it was.
std::string round_trip(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text, {.add_special = false, .parse_special = false});
  if (!ids) return ids.error().message;
  const auto back = tokenizer.decode(*ids, true);
  if (!back) return back.error().message;
  std::string_view result = *back;
  if (tokenizer.vocab().add_space_prefix && result.starts_with(' ')) result.remove_prefix(1);
  return result == text ? "" : "it comes back changed";
}

// Characters that together use every byte that UTF-8 text can have.
std::vector<std::string> characters_of_all_bytes() {
  std::vector<std::string> characters;
  for (uint32_t c = 0; c < 0x800; ++c) append_utf8(characters.emplace_back(), c);
  for (uint32_t c = 0x800; c < 0x110000; c += 0x1000)
    if (c < 0xd800 || c > 0xdfff) append_utf8(characters.emplace_back(), c);
  return characters;
}

bool all_finite(const std::vector<float>& numbers) {
  return std::ranges::all_of(numbers, [](float number) { return std::isfinite(number); });
}

Result<std::vector<float>> last_logits(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens) {
  METALLIC_ASSIGN(const auto evaluator, Evaluator::create(model, int(tokens.size()), int(tokens.size()), Format::kF32));
  std::vector<int32_t> rows(tokens.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> logits;
  METALLIC_TRY(evaluator->feed(tokens, rows, logits));
  return logits;
}

// A few tokens that the model knows.
std::vector<TokenId> canary_tokens(const Model& model) {
  std::vector<TokenId> tokens;
  if (const auto tokenizer = model.tokenizer())
    if (auto encoded = (*tokenizer)->encode("Hello, world! 1 + 1 =")) tokens = std::move(*encoded);
  if (tokens.empty())
    for (TokenId id = 0; id < std::min(8, model.config().vocab); ++id) tokens.push_back(id);
  if (tokens.size() > 16) tokens.resize(16);
  return tokens;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    size += double(b[i]) * double(b[i]);
  }
  return size == 0 ? 0 : std::sqrt(difference / size);
}

}  // namespace

VerifyCheck check_tokenizer(const Model& model) {
  if (model.file().find("tokenizer.ggml.model") == nullptr)
    return {"tokenizer", CheckResult::kSkipped, {"the file has no vocabulary"}};
  Findings findings;
  const auto tokenizer = model.tokenizer();
  if (!tokenizer) {
    findings.failed(tokenizer.error().message);
    return std::move(findings).finish("tokenizer");
  }
  if (changes_text(**tokenizer)) {
    if (const std::string fault = round_trip_of_ids(**tokenizer, kSample); !fault.empty())
      findings.warn("a sample of English and code: " + fault);
    return std::move(findings).finish("tokenizer");
  }
  if (const std::string fault = round_trip(**tokenizer, kSample); !fault.empty())
    findings.failed("a sample of English and code: " + fault);
  if (const std::string fault = round_trip(**tokenizer, kScripts); !fault.empty())
    findings.warn("a sample of many scripts: " + fault);
  const std::vector<std::string> characters = characters_of_all_bytes();
  size_t lost = 0;
  for (const std::string& character : characters) lost += round_trip(**tokenizer, character).empty() ? 0 : 1;
  if (lost > 0)
    findings.warn(fmt::format("{} of {} single characters do not come back as they were", lost, characters.size()));
  return std::move(findings).finish("tokenizer");
}

VerifyCheck check_chat_template(const Model& model) {
  const auto chat = model.chat_template();
  if (!chat && chat.error().code == ErrorCode::kNotFound)
    return {"chat template", CheckResult::kSkipped, {"the file has none"}};
  Findings findings;
  if (!chat) {
    findings.failed(chat.error().message);
    return std::move(findings).finish("chat template");
  }
  ChatOptions options;
  if (const auto tokenizer = model.tokenizer()) {
    const auto text_of = [&](TokenId id) { return id == kNoToken ? std::string() : (*tokenizer)->piece(id, true); };
    options.bos_token = text_of((*tokenizer)->vocab().bos);
    options.eos_token = text_of((*tokenizer)->vocab().eos);
  }
  const std::vector<ChatMessage> conversations[] = {
      {{"user", "a question"}},
      {{"user", "a question"}, {"assistant", "an answer"}, {"user", "another question"}},
      {{"system", "an instruction"}, {"user", "a question"}},
  };
  for (const auto& messages : conversations) {
    const bool has_system = messages.front().role == "system";
    const auto text = (*chat)->render(messages, options);
    if (!text) {
      // Some models know no system message, and their templates say so.
      const std::string fault = fmt::format("a conversation of {}{} messages: {}", has_system ? "system and " : "",
                                            messages.size() - (has_system ? 1 : 0), text.error().message);
      has_system ? findings.warn(fault) : findings.failed(fault);
    } else if (text->find(messages.back().content) == std::string::npos) {
      findings.failed("the prompt lacks the last message");
    } else if (find_invalid_utf8(*text) != std::string::npos) {
      findings.failed("the prompt is not UTF-8");
    }
  }
  return std::move(findings).finish("chat template");
}

VerifyCheck check_canary(const std::string& path, const std::shared_ptr<const Model>& model,
                         const VerifyOptions& options) {
  Findings findings;
  const auto done = [&] { return std::move(findings).finish("canary"); };
  const std::vector<TokenId> tokens = canary_tokens(*model);
  const auto logits = last_logits(model, tokens);
  if (!logits) return findings.failed(logits.error().message), done();
  if (!all_finite(*logits)) return findings.failed("evaluating a short text gives logits that are not finite"), done();
  const auto [least, most] = std::ranges::minmax_element(*logits);
  if (*least == *most) return findings.failed("evaluating a short text gives the same logit for every token"), done();
  if (!options.deep) return done();

  const auto backend = open_backend("reference", options.threads);
  if (!backend) return findings.failed(backend.error().message), done();
  const auto reference = Model::load(path, *backend);
  if (!reference) return findings.failed(reference.error().message), done();
  const auto expected = last_logits(*reference, tokens);
  if (!expected) return findings.failed(expected.error().message), done();
  constexpr double kLargestDistance = 0.1;  // the cpu backend rounds activations to 8 bits
  const double distance = relative_distance(*logits, *expected);
  const std::string text = fmt::format("relative distance of cpu and reference logits: {:.2g}", distance);
  distance <= kLargestDistance ? findings.note(text) : findings.failed(text);
  return done();
}

}  // namespace metallic
