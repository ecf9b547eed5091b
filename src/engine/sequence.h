// One request on its way: its tokens, its pages, its sampler, its text.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/kv_pages.h"
#include "engine/samplers/samplers.h"
#include "engine/text_output.h"
#include "metallic/engine.h"

namespace metallic {

class Sequence {
 public:
  // `tokenizer` may be null: then there is no text, and no token ends the answer. kInvalidArgument for bad sampling
  // options.
  static Result<std::unique_ptr<Sequence>> create(RequestId id, Request request, const Tokenizer* tokenizer,
                                                  int context, int vocab);

  RequestId id() const { return id_; }
  std::span<const TokenId> tokens() const { return tokens_; }
  int computed() const { return computed_; }
  int capacity() const { return limit_; }  // positions it may come to need
  PageLease& lease() { return lease_; }
  bool finished() const { return finished_; }

  void start(PageLease lease);
  // Hands its pages back, and goes on later in others, of which so many positions are computed then.
  PageLease suspend() { return std::exchange(lease_, {}); }
  void resume(PageLease lease, int computed) {
    lease_ = std::move(lease);
    computed_ = computed;
  }
  void add_computed(int rows) { computed_ += rows; }
  // Chooses the next token from its logits (vocab), adds it and hands out its text; may finish the sequence.
  Status append_from(std::span<const float> logits);
  // The same in two steps, where a backend chooses: how, and what came of it.
  SampleRow describe_choice() { return sampler_.describe(tokens_); }
  void append_chosen(TokenId id);
  // Whether the choice after the next one can be described before the next one is known, and will be wanted unless that
  // one ends the answer; and the description.
  bool can_run_ahead() const { return sampler_.ignores_history() && int(tokens_.size()) + 1 < limit_; }
  SampleRow describe_choice_behind() { return sampler_.describe(tokens_, 1); }
  // Asks should_stop; if it says yes, the sequence is finished as cancelled.
  bool wants_to_stop();
  Completion complete();

 private:
  using Clock = std::chrono::steady_clock;
  Sequence(Request request, const Tokenizer* tokenizer);
  void append(TokenId id);
  void finish(FinishReason reason);
  void deliver(const std::string& text);

  RequestId id_ = 0;
  Request request_;
  const Tokenizer* tokenizer_;
  Sampler sampler_;
  TextOutput output_;
  std::vector<TokenId> tokens_;  // prompt and answer
  int limit_ = 0;                // tokens_.size() never exceeds it
  bool limited_by_context_ = false;
  int computed_ = 0;
  PageLease lease_;
  bool finished_ = false;
  Completion completion_;
  Clock::time_point started_, first_token_, last_token_;
};

}  // namespace metallic
