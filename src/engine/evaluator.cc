#include "engine/evaluator.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/error.h"

namespace metallic {

Status check_token_ids(std::span<const TokenId> tokens, int vocab) {
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= vocab)
      return fail(ErrorCode::kOutOfRange,
                  "token id {} (number {} of {}) is outside the vocabulary; ids go from 0 to {}", tokens[i], i + 1,
                  tokens.size(), vocab - 1);
  return {};
}

Evaluator::Evaluator(std::shared_ptr<const Model> model, Decoder decoder, KvCache cache)
    : model_(std::move(model)), decoder_(std::move(decoder)), cache_(std::move(cache)), pages_(size_t(cache_.pages())) {
  std::iota(pages_.begin(), pages_.end(), 0);
}

Result<std::unique_ptr<Evaluator>> Evaluator::create(std::shared_ptr<const Model> model, int context, int batch_rows,
                                                     const KvFormats& kv_formats) {
  if (context < 1 || batch_rows < 1)
    return fail(ErrorCode::kInvalidArgument, "a context of {} and a batch of {}: both must be at least 1", context,
                batch_rows);
  METALLIC_ASSIGN(Decoder decoder, Decoder::create(model->config(), model->weights(), model->backend(),
                                                   std::min(batch_rows, context), context));
  METALLIC_ASSIGN(KvCache cache,
                  KvCache::create(model->config(), model->backend(), pages_for(context), kPageTokens, kv_formats));
  std::unique_ptr<Evaluator> evaluator(new Evaluator(std::move(model), std::move(decoder), std::move(cache)));
  evaluator->context_ = context;
  return evaluator;
}

void Evaluator::rewind(int position) {
  METALLIC_CHECK(position >= 0 && position <= position_);
  position_ = position;
}

Status Evaluator::feed(std::span<const TokenId> tokens, std::span<const int32_t> logit_rows,
                       std::vector<float>& logits) {
  METALLIC_CHECK(!tokens.empty() && int(tokens.size()) <= batch_rows());
  METALLIC_TRY(check_token_ids(tokens, model_->config().vocab));
  const int rows = int(tokens.size());
  METALLIC_CHECK(model_->config().causal || position_ == 0);  // an encoder sees a sequence whole
  if (position_ + rows > context_)
    return fail(ErrorCode::kOutOfRange, "{} tokens do not fit into a context of {}; ask for a larger one (-c)",
                position_ + rows, context_);
  Batch batch;
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.positions.resize(tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), position_);
  batch.sequences.push_back({0, rows, position_, pages_.data()});
  batch.logit_rows.assign(logit_rows.begin(), logit_rows.end());
  METALLIC_TRY(decoder_.run(batch, cache_, logits));
  METALLIC_TRY(model_->file().check_intact());  // weights of a file that was cut short read as zero
  position_ += rows;
  return {};
}

}  // namespace metallic
