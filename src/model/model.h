// A model ready to run: its file, sizes, weights on a backend, tokenizer and chat template.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
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

  const GgufFile& file() const { return *file_; }
  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  Backend& backend() const { return *backend_; }
  // Files without a vocabulary, or with one that is not understood, can still be evaluated on token ids.
  Result<const Tokenizer*> tokenizer() const;
  // kNotFound if the file has none.
  Result<const ChatTemplate*> chat_template() const;

 private:
  Model() = default;
  Status load_tokenizer();

  std::shared_ptr<const GgufFile> file_;
  std::shared_ptr<Backend> backend_;
  Config config_;
  Weights weights_;
  std::optional<Result<Tokenizer>> tokenizer_;
  std::optional<Result<ChatTemplate>> chat_template_;
};

}  // namespace metallic
