// One sequence evaluated directly, without requests or sampling: for logits, perplexity and benchmarks.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "metallic/engine.h"
#include "metallic/tokenizer.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace metallic {

class Evaluator {
 public:
  static Result<std::unique_ptr<Evaluator>> create(std::shared_ptr<const Model> model, int context, int batch_rows,
                                                   const KvFormats& kv_formats);

  int position() const { return position_; }
  int batch_rows() const { return decoder_.max_rows(); }
  int output_width() const { return decoder_.output_width(); }
  // Forgets the sequence from `position` on.
  void rewind(int position);
  // Evaluates at most batch_rows() tokens behind those before. `logit_rows` are indices into `tokens`. kOutOfRange if
  // the context is full or an id is outside the vocabulary.
  Status feed(std::span<const TokenId> tokens, std::span<const int32_t> logit_rows, std::vector<float>& logits);

 private:
  Evaluator(std::shared_ptr<const Model> model, Decoder decoder, KvCache cache);

  std::shared_ptr<const Model> model_;
  Decoder decoder_;
  KvCache cache_;
  std::vector<int32_t> pages_;
  int context_ = 0;
  int position_ = 0;
};

// kOutOfRange, naming the first id that is not from 0 to vocab - 1.
Status check_token_ids(std::span<const TokenId> tokens, int vocab);

// Positions of one KV page.
inline constexpr int kPageTokens = 32;
inline int pages_for(int positions) { return positions / kPageTokens + (positions % kPageTokens != 0 ? 1 : 0); }

}  // namespace metallic
