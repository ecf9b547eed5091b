#include "model/model.h"

#include "base/error.h"
#include "model/vocab_from_gguf.h"

namespace metallic {

Result<std::shared_ptr<const Model>> Model::load(const std::string& path, std::shared_ptr<Backend> backend) {
  METALLIC_ASSIGN(GgufFile file, GgufFile::open(path));
  return load(std::make_shared<const GgufFile>(std::move(file)), std::move(backend));
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const GgufFile> file,
                                                 std::shared_ptr<Backend> backend) {
  return load(std::move(file), std::move(backend), nullptr);
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const GgufFile> file, std::shared_ptr<Backend> backend,
                                                 const std::vector<Block>& blocks, const Plan& plan,
                                                 ReaderFactory make_reader, int host_threads) {
  METALLIC_ASSIGN(std::shared_ptr<Residency> residency,
                  Residency::create(file, blocks, plan, backend, std::move(make_reader), host_threads));
  backend = make_streaming_backend(std::move(backend), residency);
  return load(std::move(file), std::move(backend), std::move(residency));
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const GgufFile> file, std::shared_ptr<Backend> backend,
                                                 std::shared_ptr<Residency> residency) {
  std::shared_ptr<Model> model(new Model);
  model->file_ = std::move(file);
  model->backend_ = std::move(backend);
  model->residency_ = std::move(residency);
  METALLIC_ASSIGN(model->config_, read_config(*model->file_));
  METALLIC_ASSIGN(model->weights_,
                  load_weights(model->file_, model->config_, *model->backend_, model->residency_.get()));
  METALLIC_TRY(model->load_tokenizer());
  return std::shared_ptr<const Model>(std::move(model));
}

Status Model::load_tokenizer() {
  auto vocab = vocab_from_gguf(*file_);
  if (!vocab) {
    tokenizer_ = tl::unexpected<Error>(vocab.error());
  } else {
    tokenizer_ = Tokenizer::create(std::move(*vocab));
    if (*tokenizer_ && (*tokenizer_)->size() > config_.vocab)
      return fail(ErrorCode::kCorrupt, "{}: the vocabulary has {} tokens, but token_embd.weight has only {} rows",
                  file_->path(), (*tokenizer_)->size(), config_.vocab);
  }
  const MetadataValue* source = file_->find("tokenizer.chat_template");
  if (source == nullptr) return {};
  const auto text = source->as_string();
  if (!text) {
    chat_template_ =
        fail(ErrorCode::kCorrupt, "it is of type {}; expected a string", metadata_type_name(source->type()));
  } else if (!text->empty()) {  // empty: some writers' way to say that there is none
    chat_template_ = ChatTemplate::parse(*text);
  }
  return {};
}

Result<const Tokenizer*> Model::tokenizer() const {
  if (!*tokenizer_) {
    const Error& error = tokenizer_->error();
    const std::string place = file_->path() + ": ";
    const size_t named = error.message.starts_with(place) ? place.size() : 0;
    return fail(error.code, "{}this model cannot read or write text: {}", place, error.message.substr(named));
  }
  return &**tokenizer_;
}

Result<const ChatTemplate*> Model::chat_template() const {
  if (!chat_template_) return fail(ErrorCode::kNotFound, "{}: the file has no chat template", file_->path());
  if (!*chat_template_) return fail_while(file_->path() + ": the chat template", chat_template_->error());
  return &**chat_template_;
}

}  // namespace metallic
