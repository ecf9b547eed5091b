#include "model/kv_cache.h"

#include "base/check.h"
#include "base/checked_math.h"
#include "base/error.h"

namespace metallic {

Result<KvCache> KvCache::create(const Config& config, Backend& backend, int pages, int page_tokens, Format format) {
  METALLIC_CHECK(pages > 0 && page_tokens > 0);
  METALLIC_CHECK(format == Format::kF32 || format == Format::kF16);
  const uint64_t element = uint64_t(format_info(format).block_bytes);
  const uint64_t rows = uint64_t(pages) * uint64_t(page_tokens);
  const auto key_bytes = checked_multiply(rows, uint64_t(config.key_width()) * element);
  const auto value_bytes = checked_multiply(rows, uint64_t(config.value_width()) * element);
  const auto layer_bytes = key_bytes && value_bytes ? checked_add(*key_bytes, *value_bytes) : std::nullopt;
  const auto bytes = layer_bytes ? checked_multiply(*layer_bytes, uint64_t(config.layers)) : std::nullopt;
  if (!bytes)
    return fail(ErrorCode::kOutOfMemory, "a KV cache for {} positions is too large; ask for a smaller context", rows);

  KvCache cache;
  cache.pages_ = pages;
  cache.page_tokens_ = page_tokens;
  cache.bytes_ = *bytes;
  auto memory = backend.allocate(*bytes);
  if (!memory) return fail_while("KV cache (a smaller context needs less)", memory.error());
  cache.memory_ = std::move(*memory);
  char* at = static_cast<char*>(cache.memory_.get());
  for (int layer = 0; layer < config.layers; ++layer, at += *layer_bytes) {
    cache.keys_.push_back(TensorView::dense(at, format, {pages, config.kv_heads, page_tokens, config.head_dim}));
    cache.values_.push_back(
        TensorView::dense(at + *key_bytes, format, {pages, config.kv_heads, page_tokens, config.value_dim}));
  }
  return cache;
}

}  // namespace metallic
