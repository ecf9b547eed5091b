#include "model/kv_cache.h"

#include <algorithm>
#include <string>

#include "backend/kv_rows.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/error.h"

namespace metallic {

namespace {

Status check_format(const Backend* backend, Format format, int width, const char* what) {
  const auto held = [&](Format one) { return backend == nullptr || backend->holds_kv(one); };
  std::string known;
  for (const Format one : kKvFormats) {
    if (!held(one)) continue;
    if (one == format && width % format_info(format).block_elements == 0) return {};
    known += (known.empty() ? "" : ", ") + std::string(format_info(one).name);
  }
  if (std::find(kKvFormats.begin(), kKvFormats.end(), format) != kKvFormats.end() && held(format))
    return fail(ErrorCode::kUnsupported, "a KV cache with {} of type {}: a head is {} wide, which is no multiple of {}",
                what, format_info(format).name, width, format_info(format).block_elements);
  return fail(ErrorCode::kUnsupported, "a KV cache with {} of type {}; {} has: {}", what, format_info(format).name,
              backend == nullptr ? "the cpu backend" : fmt::format("the backend {}", backend->name()), known);
}

}  // namespace

Status check_kv_formats(const Config& config, const KvFormats& formats, const Backend* backend) {
  METALLIC_TRY(check_format(backend, formats.keys, config.head_dim, "keys"));
  return check_format(backend, formats.values, config.value_dim, "values");
}

uint64_t kv_token_bytes(const Config& config, const KvFormats& formats) {
  return *format_bytes(formats.keys, uint64_t(config.key_width())) +
         *format_bytes(formats.values, uint64_t(config.value_width()));
}

Result<KvCache> KvCache::create(const Config& config, Backend& backend, int pages, int page_tokens,
                                const KvFormats& formats) {
  METALLIC_CHECK(pages > 0 && page_tokens > 0);
  Backend& home = backend.kv_backend();
  METALLIC_TRY(check_kv_formats(config, formats, &home));
  const uint64_t rows = uint64_t(pages) * uint64_t(page_tokens);
  const auto key_bytes = checked_multiply(rows, *format_bytes(formats.keys, uint64_t(config.key_width())));
  const auto value_bytes = checked_multiply(rows, *format_bytes(formats.values, uint64_t(config.value_width())));
  const auto layer_bytes = key_bytes && value_bytes ? checked_add(*key_bytes, *value_bytes) : std::nullopt;
  const auto bytes = layer_bytes ? checked_multiply(*layer_bytes, uint64_t(config.layers)) : std::nullopt;
  if (!bytes)
    return fail(ErrorCode::kOutOfMemory, "a KV cache for {} positions is too large; ask for a smaller context", rows);

  KvCache cache;
  cache.pages_ = pages;
  cache.page_tokens_ = page_tokens;
  cache.bytes_ = *bytes;
  auto memory = home.allocate(*bytes);
  if (!memory) return fail_while("KV cache (a smaller context needs less)", memory.error());
  cache.memory_ = std::move(*memory);
  char* at = static_cast<char*>(cache.memory_.get());
  for (int layer = 0; layer < config.layers; ++layer, at += *layer_bytes) {
    cache.keys_.push_back(TensorView::dense(at, formats.keys, {pages, config.kv_heads, page_tokens, config.head_dim}));
    cache.values_.push_back(
        TensorView::dense(at + *key_bytes, formats.values, {pages, config.kv_heads, page_tokens, config.value_dim}));
  }
  return cache;
}

}  // namespace metallic
