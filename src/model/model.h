// A model ready to run: its file, sizes, weights on a backend, tokenizer and chat template.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "memory/plan.h"
#include "memory/residency.h"
#include "metallic/chat.h"
#include "metallic/gguf.h"
#include "metallic/tokenizer.h"
#include "model/config.h"
#include "model/weights.h"

namespace metallic {

// Immutable once loaded. Operations on its backend must come from one thread at a time.
class Model {
 public:
  // Opens the file and loads everything; weights are used from the mapping where the backend can.
  static Result<std::shared_ptr<const Model>> load(const std::string& path, std::shared_ptr<Backend> backend);
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const GgufFile> file,
                                                   std::shared_ptr<Backend> backend);
  // The same for an open file, with its weights where a plan for its `blocks` wants them.
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const GgufFile> file,
                                                   std::shared_ptr<Backend> backend, const std::vector<Block>& blocks,
                                                   const Plan& plan, ReaderFactory make_reader = make_file_reader,
                                                   int host_threads = 0);

  const GgufFile& file() const { return *file_; }
  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  Backend& backend() const { return *backend_; }
  const Residency* residency() const { return residency_.get(); }  // null if all weights stay
  // Files without a vocabulary, or with one that is not understood, can still be evaluated on token ids.
  Result<const Tokenizer*> tokenizer() const;
  // kNotFound if the file has none.
  Result<const ChatTemplate*> chat_template() const;

 private:
  Model() = default;
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const GgufFile> file,
                                                   std::shared_ptr<Backend> backend,
                                                   std::shared_ptr<Residency> residency);
  Status load_tokenizer();

  std::shared_ptr<const GgufFile> file_;
  std::shared_ptr<Backend> backend_;
  Config config_;
  Weights weights_;
  std::optional<Result<Tokenizer>> tokenizer_;
  std::optional<Result<ChatTemplate>> chat_template_;
  std::shared_ptr<Residency> residency_;
};

}  // namespace metallic
