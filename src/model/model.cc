#include "model/model.h"

#include "backend/transfers.h"
#include "base/error.h"
#include "base/processors.h"
#include "memory/host_attention.h"
#include "model/vocab_from_gguf.h"

namespace metallic {
namespace {

ModelParts new_parts(std::shared_ptr<const GgufFile> file, std::shared_ptr<Backend> backend) {
  ModelParts parts;
  parts.file = std::move(file);
  parts.backend = std::move(backend);
  parts.loaded = std::make_shared<LoadedMatrices>();
  parts.use = std::make_shared<ExpertUse>();
  return parts;
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::load(const std::string& path, std::shared_ptr<Backend> backend) {
  METALLIC_ASSIGN(GgufFile file, GgufFile::open(path));
  return load(std::make_shared<const GgufFile>(std::move(file)), std::move(backend));
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const GgufFile> file,
                                                 std::shared_ptr<Backend> backend) {
  return load(new_parts(std::move(file), backend), backend, nullptr, false);
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const GgufFile> file, std::shared_ptr<Backend> backend,
                                                 const std::vector<Block>& blocks, const Plan& plan,
                                                 ReaderFactory make_reader, int host_threads) {
  return place(new_parts(std::move(file), std::move(backend)), blocks, plan, false, std::move(make_reader),
               host_threads);
}

Result<std::shared_ptr<const Model>> Model::assemble(const ModelParts& parts, const std::vector<Block>& blocks,
                                                     const Plan& plan, ReaderFactory make_reader, int host_threads) {
  return place(parts, blocks, plan, all_stay(plan), std::move(make_reader), host_threads);
}

// What is to be brought from now on is let go of before anything is loaded.
Result<std::shared_ptr<const Model>> Model::place(ModelParts parts, const std::vector<Block>& blocks, const Plan& plan,
                                                  bool all_stay, ReaderFactory make_reader, int host_threads) {
  const bool on_device = find_transfers(*parts.backend) != nullptr, kv_on_host = on_device && kv_beside_gpu(plan);
  if (parts.host == nullptr && on_device && (kv_on_host || !all_stay)) {
    METALLIC_ASSIGN(parts.host, open_backend("cpu", threads_beside_gpu(host_threads)));
  }
  std::shared_ptr<Backend> in_front = parts.backend;
  std::shared_ptr<Residency> residency;
  if (!all_stay) {
    METALLIC_ASSIGN(residency,
                    Residency::create(parts.file, blocks, plan, parts.backend, parts.host, std::move(make_reader)));
    std::erase_if(*parts.loaded, [&](const auto& entry) {
      return residency->brings(parts.file->tensors()[size_t(entry.first.tensor)], entry.first.expert);
    });
    in_front = make_streaming_backend(parts.backend, residency);
  }
  if (kv_on_host) in_front = make_host_attention_backend(in_front, parts.backend, parts.host);
  return load(std::move(parts), std::move(in_front), std::move(residency), kv_on_host);
}

Result<std::shared_ptr<const Model>> Model::load(ModelParts parts, std::shared_ptr<Backend> backend,
                                                 std::shared_ptr<Residency> residency, bool keeps_kv_on_host) {
  std::shared_ptr<Model> model(new Model);
  model->keeps_kv_on_host_ = keeps_kv_on_host;
  model->parts_ = std::move(parts);
  model->backend_ = std::move(backend);
  model->residency_ = std::move(residency);
  METALLIC_ASSIGN(model->config_, read_config(model->file()));
  METALLIC_ASSIGN(model->weights_, load_weights(model->parts_.file, model->config_, *model->backend_,
                                                model->residency_.get(), model->parts_.loaded.get()));
  model->count_experts();
  if (model->parts_.text == nullptr) METALLIC_TRY(model->load_text());
  return std::shared_ptr<const Model>(std::move(model));
}

void Model::count_experts() {
  parts_.use->forget_names();
  if (residency_ == nullptr) return;
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const std::vector<Weight>& experts = weights_.layers[i].experts.up;
    if (!experts.empty()) parts_.use->name(experts.data(), int(i), int(experts.size()));
  }
  residency_->set_use(parts_.use);
}

Status Model::load_text() {
  auto text = std::make_shared<ModelText>();
  auto vocab = vocab_from_gguf(file());
  if (!vocab) {
    text->tokenizer = tl::unexpected<Error>(vocab.error());
  } else {
    text->tokenizer = Tokenizer::create(std::move(*vocab));
    if (*text->tokenizer && (*text->tokenizer)->size() > config_.vocab)
      return fail(ErrorCode::kCorrupt, "{}: the vocabulary has {} tokens, but token_embd.weight has only {} rows",
                  file().path(), (*text->tokenizer)->size(), config_.vocab);
  }
  if (const MetadataValue* source = file().find("tokenizer.chat_template"); source != nullptr) {
    const auto written = source->as_string();
    if (!written) {
      text->chat_template =
          fail(ErrorCode::kCorrupt, "it is of type {}; expected a string", metadata_type_name(source->type()));
    } else if (!written->empty()) {  // empty: some writers' way to say that there is none
      text->chat_template = ChatTemplate::parse(*written);
    }
  }
  parts_.text = std::move(text);
  return {};
}

Result<const Tokenizer*> Model::tokenizer() const {
  const Result<Tokenizer>& tokenizer = *parts_.text->tokenizer;
  if (!tokenizer) {
    const Error& error = tokenizer.error();
    const std::string place = file().path() + ": ";
    const size_t named = error.message.starts_with(place) ? place.size() : 0;
    return fail(error.code, "{}this model cannot read or write text: {}", place, error.message.substr(named));
  }
  return &*tokenizer;
}

Result<const ChatTemplate*> Model::chat_template() const {
  const std::optional<Result<ChatTemplate>>& chat = parts_.text->chat_template;
  if (!chat) return fail(ErrorCode::kNotFound, "{}: the file has no chat template", file().path());
  if (!*chat) return fail_while(file().path() + ": the chat template", chat->error());
  return &**chat;
}

}  // namespace metallic
