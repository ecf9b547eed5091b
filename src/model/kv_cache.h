// The memory of the KV cache: for each layer, pages of keys and values of a fixed number of positions.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "metallic/engine.h"
#include "model/config.h"

namespace metallic {

// kUnsupported, naming those that are possible, for a format that is none of a cache's or whose block does not divide a
// head's width. Without a backend: for what the cpu backend holds, which is all there are.
Status check_kv_formats(const Config& config, const KvFormats& formats, const Backend* backend);

// What one position of one layer takes, in formats that check_kv_formats() allows.
uint64_t kv_token_bytes(const Config& config, const KvFormats& formats);

// Which page belongs to whom is not known here: that is KvPages' business (engine).
class KvCache {
 public:
  // In the memory of backend.kv_backend(). kUnsupported for a format that is none of a cache or whose block does not
  // divide a head's width; kOutOfMemory says how much was wanted.
  static Result<KvCache> create(const Config& config, Backend& backend, int pages, int page_tokens,
                                const KvFormats& formats);

  int pages() const { return pages_; }
  int layers() const { return int(keys_.size()); }
  int page_tokens() const { return page_tokens_; }
  uint64_t bytes() const { return bytes_; }
  const TensorView& keys(int layer) const { return keys_[size_t(layer)]; }  // (pages, kv_heads, page_tokens, head_dim)
  const TensorView& values(int layer) const {
    return values_[size_t(layer)];
  }  // (pages, kv_heads, page_tokens, value_dim)

 private:
  int pages_ = 0;
  int page_tokens_ = 0;
  uint64_t bytes_ = 0;
  std::vector<TensorView> keys_, values_;
  std::shared_ptr<void> memory_;
};

}  // namespace metallic
