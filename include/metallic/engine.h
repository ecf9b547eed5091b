// Running a language model: load it, give it prompts, get text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metallic/chat.h"
#include "metallic/format.h"
#include "metallic/result.h"
#include "metallic/tokenizer.h"

namespace metallic {

// How the next token is chosen from the logits. Steps are applied in the order of the fields.
struct SamplingOptions {
  std::vector<std::pair<TokenId, float>> logit_bias;  // added to the logit; -infinity bans a token
  float repeat_penalty = 1.0f;     // divides positive and multiplies negative logits of recent tokens; 1: off
  float presence_penalty = 0.0f;   // subtracted once from the logit of each recent token
  float frequency_penalty = 0.0f;  // subtracted for each time a recent token occurred
  int penalty_window = 64;         // how many tokens are recent; -1: all
  int top_k = 40;                  // only the k best; 0: off
  float top_p = 0.95f;             // the smallest set of best tokens with this probability in sum; 1: off
  float min_p = 0.05f;             // only tokens with at least this share of the best one's probability; 0: off
  float temperature = 0.8f;        // 0: always the best token
  uint64_t seed = 0;               // same seed, prompt and options: same tokens
};

enum class FinishReason {
  kEndOfGeneration,  // the model ended its answer
  kStopString,
  kLength,     // max_tokens
  kContext,    // the context is full
  kCancelled,  // should_stop or on_text asked for it
};
const char* finish_reason_name(FinishReason reason);

struct Request {
  std::vector<TokenId> prompt;
  int max_tokens = -1;  // of the answer; -1: until the context is full
  SamplingOptions sampling;
  std::vector<std::string> stop;  // the answer ends before the first of these
  bool ignore_end = false;        // goes on past end-of-generation tokens
  bool show_special = false;      // control tokens appear in the text
  // Called with each piece of text as soon as it is certain (whole UTF-8 characters, no part of a stop string); false
  // cancels.
  std::function<bool(std::string_view text)> on_text;
  // Asked at least once for each step, and whenever a step waits for weights; true cancels.
  std::function<bool()> should_stop;
};

struct Completion {
  std::string text;
  std::vector<TokenId> tokens;  // without the token that ended the generation
  FinishReason reason = FinishReason::kLength;
  int prompt_tokens = 0;
  int cached_tokens = 0;      // of the prompt, taken from the KV cache
  double prompt_seconds = 0;  // from the first step to the first token
  double answer_seconds = 0;  // from the first token to the last
};

// Of the KV cache: kF32, kF16, kBF16, kQ8_0, kF8_E4M3, kQ5_1, kQ5_0, kQ4_1, kQ4_0 or kIQ4_NL. The width of a head is a
// multiple of the format's block.
struct KvFormats {
  Format keys = Format::kF16, values = Format::kF16;

  KvFormats() = default;
  KvFormats(Format both) : keys(both), values(both) {}  // NOLINT: one for both is the usual case
  KvFormats(Format of_keys, Format of_values) : keys(of_keys), values(of_values) {}
};

// Whether keys and values are kept in the GPU's memory: where that is fastest, always, or never.
enum class KvOffload { kAuto, kOn, kOff };

// What a model may take. Within that, weights are put where the expected time of a request is least: into the GPU's
// memory, into RAM, or left on disk; docs/memory.md.
struct MemoryOptions {
  uint64_t gpu_bytes = 0;  // of the GPU's memory, all that belongs to it included; 0: what is free, less a margin
  uint64_t ram_bytes = 0;  // of the host's; 0: likewise
  int gpu_layers = -1;     // so many layers wholly on the GPU, the head too if more than there are; -1: automatic
  KvOffload kv_offload = KvOffload::kAuto;
  // For keys and values of all sequences, but at least of one with its whole context; 0: of all of them. With less,
  // sequences that find no page wait: theirs go to so much of the host's memory, and beyond that are computed again.
  uint64_t kv_bytes = 0;
  uint64_t kv_swap_bytes = 0;
};

struct EngineOptions {
  std::string backend = "cpu";
  int threads = 0;        // 0: one for each processor
  bool repack = true;     // false: weights stay as the file has them; loads at once, computes more slowly
  int context = 0;        // positions of one sequence; 0: what the model was trained on, at most 4096
  int batch_rows = 0;     // the most tokens evaluated in one step; 0: 512, or 2048 where weights are brought for each
  int max_sequences = 1;  // sequences that run at the same time
  KvFormats kv_formats = {};
  MemoryOptions memory = {};
};

struct EngineInfo {
  std::string backend;
  int threads = 0;
  int context = 0;
  int vocab = 0;
  uint64_t weight_bytes = 0;
  std::string weight_places;  // "21.3 GB on the GPU, 18.1 GB in RAM"; empty for backends that are not planned for
  uint64_t kv_bytes = 0;
  uint64_t activation_bytes = 0;
  double load_seconds = 0;
};

// Since the engine was made.
struct EngineStatistics {
  uint64_t steps = 0;
  uint64_t weight_moves = 0;  // to other places, by set_memory() and by what the machine had free
  // Sequences that had to wait for pages of the KV cache: those whose pages went to the host's memory and came back,
  // and those that are computed again.
  uint64_t kv_swapped_out = 0, kv_swapped_in = 0, kv_dropped = 0;
  uint64_t kv_swap_bytes = 0;  // in use now
};

using RequestId = uint64_t;

// One loaded model with its KV cache. Requests run together, batched; a prefix that was computed before and is still in
// the cache is not computed again. All calls must come from one thread at a time.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> load(const std::string& path, const EngineOptions& options = {});
  virtual ~Engine() = default;

  virtual const EngineInfo& info() const = 0;
  // Where every part of the model is and why, how fast it should be, and what would help: a table, or JSON.
  virtual std::string explain(bool json = false) const = 0;
  virtual EngineStatistics statistics() const = 0;
  // Other budgets from now on, while requests run: weights move before the next step to where a plan within them wants
  // them; keys and values stay. What requests answer does not change by it on a CPU. kOutOfMemory (all stays as it was)
  // if the rest of the model does not fit into the budgets, kUnsupported for backends that are not planned for.
  virtual Status set_memory(const MemoryOptions& memory) = 0;
  virtual Result<const Tokenizer*> tokenizer() const = 0;
  // kNotFound if the file has no chat template.
  virtual Result<const ChatTemplate*> chat_template() const = 0;
  // The file's chat template applied and encoded.
  virtual Result<std::vector<TokenId>> chat_prompt(std::span<const ChatMessage> messages) const = 0;

  // Queues a request. kInvalidArgument for an empty prompt or options out of range, kOutOfRange for an id outside the
  // vocabulary or a prompt that leaves no room in the context.
  virtual Result<RequestId> submit(Request request) = 0;
  // Advances all requests by one batch. An error here ends all of them.
  virtual Status step() = 0;
  virtual bool idle() const = 0;
  // The result of a finished request, once; kNotFound if it is unknown or still runs.
  virtual Result<Completion> take(RequestId id) = 0;
  // submit, step until it is finished, take.
  virtual Result<Completion> generate(Request request) = 0;

  // Logits of tokens[first..] in chunks as they are computed: sink(position, logits (vocab)); false stops. Uses no
  // cached prefix.
  virtual Status evaluate(std::span<const TokenId> tokens, int first,
                          const std::function<bool(int position, std::span<const float> logits)>& sink) = 0;
};

}  // namespace metallic
