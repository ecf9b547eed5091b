#include "engine/collect_importance.h"

#include <algorithm>

#include "backend/recording_backend.h"
#include "base/error.h"
#include "engine/evaluator.h"

namespace metallic {
namespace {

// Sums of one matrix into its tensor; what was loaded in parts (the experts, or a fused matrix) has several addresses.
void add_statistics(const TensorInfo& tensor, uint64_t offset, const InputStatistics& statistics,
                    TensorImportance& importance) {
  const size_t columns = size_t(tensor.size[0]), matrices = size_t(tensor.size[2] * tensor.size[3]);
  importance.columns = int64_t(columns);
  importance.sums.resize(columns * matrices);
  importance.counts.resize(matrices);
  const size_t matrix = size_t(offset / (tensor.bytes / matrices));
  if (statistics.squares.size() != columns || importance.counts[matrix] > 0) return;
  for (size_t i = 0; i < columns; ++i) importance.sums[matrix * columns + i] = float(statistics.squares[i]);
  importance.counts[matrix] = float(statistics.rows);
}

ImportanceMatrix named(const GgufFile& file, const RecordingBackend& backend) {
  ImportanceMatrix result;
  for (const auto& [address, statistics] : backend.statistics())
    for (const TensorInfo& tensor : file.tensors()) {
      const std::byte* const begin = file.tensor_data(tensor).data();
      const auto* const at = static_cast<const std::byte*>(address);
      if (at < begin || at >= begin + tensor.bytes) continue;
      const bool is_head = tensor.name == "output.weight" || tensor.name == "token_embd.weight";
      if (!is_head) add_statistics(tensor, uint64_t(at - begin), statistics, result.tensors[std::string(tensor.name)]);
    }
  return result;
}

}  // namespace

Result<ImportanceMatrix> collect_importance(std::string_view text, const ImportanceOptions& options) {
  METALLIC_ASSIGN(auto inner, open_backend(options.backend, options.threads));
  const auto backend = std::make_shared<RecordingBackend>(std::move(inner));
  METALLIC_ASSIGN(const std::shared_ptr<const Model> model, Model::load(options.model_path, backend));
  METALLIC_ASSIGN(const Tokenizer* tokenizer, model->tokenizer());
  METALLIC_ASSIGN(const std::vector<TokenId> tokens, tokenizer->encode(text));
  const size_t length = size_t(options.context);
  size_t chunks = tokens.size() / length;
  if (chunks == 0)
    return fail(ErrorCode::kInvalidArgument, "the text has {} tokens, fewer than one chunk of {} (-c)", tokens.size(),
                length);
  if (options.chunks > 0) chunks = std::min(chunks, size_t(options.chunks));

  METALLIC_ASSIGN(const auto evaluator, Evaluator::create(model, options.context, options.context, Format::kF16));
  std::vector<float> logits;
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    std::vector<TokenId> window(tokens.begin() + ptrdiff_t(chunk * length),
                                tokens.begin() + ptrdiff_t((chunk + 1) * length));
    if (tokenizer->vocab().add_bos) window[0] = tokenizer->vocab().bos;
    evaluator->rewind(0);
    METALLIC_TRY(evaluator->feed(window, {}, logits));
    if (options.on_chunk && !options.on_chunk(int(chunk) + 1, int(chunks)))
      return fail(ErrorCode::kCancelled, "interrupted; nothing was written");
  }
  ImportanceMatrix result = named(model->file(), *backend);
  result.datasets = {options.dataset};
  result.chunks = uint32_t(chunks);
  result.chunk_tokens = uint32_t(length);
  return result;
}

}  // namespace metallic
