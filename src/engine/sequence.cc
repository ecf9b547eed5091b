#include "engine/sequence.h"

#include "base/error.h"

namespace metallic {

Sequence::Sequence(Request request, const Tokenizer* tokenizer)
    : request_(std::move(request)),
      tokenizer_(tokenizer),
      output_(tokenizer, request_.stop, request_.show_special),
      tokens_(request_.prompt) {}

Result<std::unique_ptr<Sequence>> Sequence::create(RequestId id, Request request, const Tokenizer* tokenizer,
                                                   int context, int vocab) {
  METALLIC_ASSIGN(Sampler sampler, Sampler::create(request.sampling, vocab));
  std::unique_ptr<Sequence> sequence(new Sequence(std::move(request), tokenizer));
  sequence->id_ = id;
  sequence->sampler_ = std::move(sampler);
  const int prompt = int(sequence->tokens_.size());
  const int wanted = sequence->request_.max_tokens;
  sequence->limited_by_context_ = wanted < 0 || wanted > context - prompt;
  sequence->limit_ = sequence->limited_by_context_ ? context : prompt + wanted;
  sequence->completion_.prompt_tokens = prompt;
  if (wanted == 0) sequence->finish(FinishReason::kLength);
  return sequence;
}

void Sequence::start(PageLease lease) {
  lease_ = std::move(lease);
  computed_ = lease_.cached_tokens;
  completion_.cached_tokens = lease_.cached_tokens;
  started_ = first_token_ = last_token_ = Clock::now();
}

Status Sequence::append_from(std::span<const float> logits) {
  METALLIC_ASSIGN(const TokenId id, sampler_.sample(logits, tokens_));
  append(id);
  return {};
}

void Sequence::append_chosen(TokenId id) {
  sampler_.count_draw();
  append(id);
}

void Sequence::append(TokenId id) {
  last_token_ = Clock::now();
  if (int(tokens_.size()) == completion_.prompt_tokens) first_token_ = last_token_;
  if (!request_.ignore_end && tokenizer_ != nullptr && tokenizer_->is_end_of_generation(id)) {
    finish(FinishReason::kEndOfGeneration);
    return;
  }
  tokens_.push_back(id);
  completion_.tokens.push_back(id);
  deliver(output_.push(id));
  if (finished_) return;  // cancelled by on_text
  if (output_.stopped()) {
    finish(FinishReason::kStopString);
  } else if (int(tokens_.size()) >= limit_) {
    finish(limited_by_context_ ? FinishReason::kContext : FinishReason::kLength);
  }
}

bool Sequence::wants_to_stop() {
  if (!finished_ && request_.should_stop && request_.should_stop()) finish(FinishReason::kCancelled);
  return finished_;
}

void Sequence::deliver(const std::string& text) {
  if (text.empty()) return;
  completion_.text += text;
  if (request_.on_text && !request_.on_text(text)) finish(FinishReason::kCancelled);
}

void Sequence::finish(FinishReason reason) {
  if (finished_) return;
  finished_ = true;
  completion_.reason = reason;
  const std::string rest = output_.finish();
  completion_.text += rest;
  if (!rest.empty() && request_.on_text && reason != FinishReason::kCancelled) request_.on_text(rest);
}

Completion Sequence::complete() {
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  completion_.prompt_seconds = seconds(first_token_ - started_);
  completion_.answer_seconds = seconds(last_token_ - first_token_);
  return std::move(completion_);
}

}  // namespace metallic
