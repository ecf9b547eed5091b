// Which page of the KV cache belongs to whom. Pure bookkeeping: no tensor, no model.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "metallic/tokenizer.h"

namespace metallic {

// The pages of one sequence, in order of position.
struct PageLease {
  std::vector<int32_t> pages;
  int cached_tokens = 0;     // leading positions whose keys and values were there already
  int registered_pages = 0;  // leading pages whose content is known to the cache
};

// Full pages stay known by their content after they are given back, until they are needed for something else: a later
// sequence that begins with the same tokens shares them. Content is compared token by token; there are no hash
// collisions to fear.
class KvPages {
 public:
  KvPages(int pages, int page_tokens);

  int page_tokens() const { return page_tokens_; }
  int total_pages() const { return int(pages_.size()); }
  int free_pages() const { return int(free_.size()); }  // given back; they may still hold known content

  // Pages for a sequence that starts with `prompt` and may grow to `capacity` >= prompt.size() positions; nothing if
  // there are too few, or fewer than `spare` would be left. At least the last token of the prompt is left to compute,
  // so that its logits exist.
  std::optional<PageLease> take(std::span<const TokenId> prompt, int capacity, int spare = 0);
  // More pages at the end of a lease, so that it covers `positions`; false, and none, if there are too few.
  bool grow(PageLease& lease, int positions);
  // Says that the first `computed` of `tokens` are in the lease's pages: full ones become known.
  void mark_computed(PageLease& lease, std::span<const TokenId> tokens, int computed);
  void give_back(PageLease& lease);

 private:
  using ContentKey =
      std::pair<uint64_t, std::vector<TokenId>>;  // content of the page before it (0: none), and its own tokens
  struct Page {
    int users = 0;
    uint64_t last_used = 0;
    uint64_t content = 0;  // a number that no other content has; 0: unknown
    ContentKey key;
  };

  void use(int32_t page);
  int32_t take_free();
  void forget(Page& page);

  int page_tokens_;
  uint64_t clock_ = 0;
  uint64_t next_content_ = 1;
  std::vector<Page> pages_;
  std::set<std::pair<uint64_t, int32_t>> free_;  // (last_used, page): the longest unused first
  std::map<ContentKey, int32_t> by_content_;
};

}  // namespace metallic
