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

// A model's tokenizer and chat template; they stay where they are when its weights move.
struct ModelText {
  std::optional<Result<Tokenizer>> tokenizer;
  std::optional<Result<ChatTemplate>> chat_template;
};

// What a model is made of, beside its plan.
struct ModelParts {
  std::shared_ptr<const GgufFile> file;
  std::shared_ptr<Backend> backend;  // that computes
  std::shared_ptr<Backend> host;     // beside a device, where the host has a part in it
  std::shared_ptr<const ModelText> text;
  std::shared_ptr<LoadedMatrices> loaded;  // weights that stay where they are computed with
  std::shared_ptr<ExpertUse> use;          // of a mixture, counted where not all weights stay
};

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

  // For another plan: the weights that stay under both are not loaded again. Everything else of the old model goes with
  // its last reference, which should be dropped before assemble(): that lets go of what the plan wants elsewhere, then
  // loads, so that no more memory is used than under the greater of the two plans. After an error `parts` are good for
  // another try.
  const ModelParts& parts() const { return parts_; }
  static Result<std::shared_ptr<const Model>> assemble(const ModelParts& parts, const std::vector<Block>& blocks,
                                                       const Plan& plan, ReaderFactory make_reader = make_file_reader,
                                                       int host_threads = 0);

  const GgufFile& file() const { return *parts_.file; }
  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  Backend& backend() const { return *backend_; }
  // In whose memory its keys and values are, whatever moves.
  Backend& kv_backend() const { return keeps_kv_on_host_ ? *parts_.host : *parts_.backend; }
  Residency* residency() const { return residency_.get(); }  // null if all weights stay
  // Files without a vocabulary, or with one that is not understood, can still be evaluated on token ids.
  Result<const Tokenizer*> tokenizer() const;
  // kNotFound if the file has none.
  Result<const ChatTemplate*> chat_template() const;

 private:
  Model() = default;
  static Result<std::shared_ptr<const Model>> load(ModelParts parts, std::shared_ptr<Backend> backend,
                                                   std::shared_ptr<Residency> residency, bool keeps_kv_on_host);
  static Result<std::shared_ptr<const Model>> place(ModelParts parts, const std::vector<Block>& blocks,
                                                    const Plan& plan, bool all_stay, ReaderFactory make_reader,
                                                    int host_threads);
  Status load_text();
  void count_experts();

  ModelParts parts_;
  std::shared_ptr<Backend> backend_;  // with the residency in front, if there is one
  bool keeps_kv_on_host_ = false;     // beside a device
  Config config_;
  Weights weights_;
  std::shared_ptr<Residency> residency_;
};

}  // namespace metallic
