#include "engine/kv_pages.h"

#include <algorithm>

#include "base/check.h"

namespace metallic {

KvPages::KvPages(int pages, int page_tokens) : page_tokens_(page_tokens), pages_(size_t(pages)) {
  METALLIC_CHECK(pages > 0 && page_tokens > 0);
  for (int32_t page = 0; page < pages; ++page) free_.emplace(0, page);
}

void KvPages::use(int32_t page) {
  Page& entry = pages_[size_t(page)];
  if (entry.users++ == 0) free_.erase({entry.last_used, page});
}

void KvPages::forget(Page& page) {
  if (page.content == 0) return;
  by_content_.erase(page.key);
  page.content = 0;
  page.key = {};
}

std::optional<PageLease> KvPages::take(std::span<const TokenId> prompt, int capacity, int spare) {
  METALLIC_CHECK(!prompt.empty() && size_t(capacity) >= prompt.size());
  const size_t page_size = size_t(page_tokens_);
  const size_t wanted = (size_t(capacity) + page_size - 1) / page_size;
  PageLease lease;
  uint64_t content = 0;
  size_t shared_and_free = 0;
  for (size_t at = 0; at + page_size < prompt.size(); at += page_size) {
    const auto known =
        by_content_.find({content, {prompt.begin() + ptrdiff_t(at), prompt.begin() + ptrdiff_t(at + page_size)}});
    if (known == by_content_.end()) break;
    lease.pages.push_back(known->second);
    content = pages_[size_t(known->second)].content;
    if (pages_[size_t(known->second)].users == 0) ++shared_and_free;
  }
  if (wanted - lease.pages.size() + size_t(spare) > free_.size() - shared_and_free) return std::nullopt;

  lease.cached_tokens = int(lease.pages.size() * page_size);
  lease.registered_pages = int(lease.pages.size());
  for (const int32_t page : lease.pages) use(page);
  while (lease.pages.size() < wanted) lease.pages.push_back(take_free());
  return lease;
}

bool KvPages::grow(PageLease& lease, int positions) {
  const size_t page_size = size_t(page_tokens_);
  const size_t wanted = (size_t(positions) + page_size - 1) / page_size;
  if (wanted <= lease.pages.size()) return true;
  if (wanted - lease.pages.size() > free_.size()) return false;
  while (lease.pages.size() < wanted) lease.pages.push_back(take_free());
  return true;
}

int32_t KvPages::take_free() {
  const int32_t page = free_.begin()->second;
  use(page);
  forget(pages_[size_t(page)]);
  return page;
}

void KvPages::mark_computed(PageLease& lease, std::span<const TokenId> tokens, int computed) {
  METALLIC_CHECK(computed >= 0 && size_t(computed) <= tokens.size());
  for (; (lease.registered_pages + 1) * page_tokens_ <= computed; ++lease.registered_pages) {
    const size_t index = size_t(lease.registered_pages);
    Page& page = pages_[size_t(lease.pages[index])];
    const uint64_t before = index == 0 ? 0 : pages_[size_t(lease.pages[index - 1])].content;
    if (index > 0 && before == 0) return;  // the same content is known under another page: the chain ends here
    const auto first = tokens.begin() + ptrdiff_t(index) * page_tokens_;
    ContentKey key{before, {first, first + page_tokens_}};
    if (!by_content_.emplace(key, lease.pages[index]).second) return;
    page.content = next_content_++;
    page.key = std::move(key);
  }
}

void KvPages::give_back(PageLease& lease) {
  ++clock_;
  // The end of a sequence is less likely to be wanted again than its beginning: it goes first.
  for (size_t i = 0; i < lease.pages.size(); ++i) {
    const int32_t page = lease.pages[i];
    Page& entry = pages_[size_t(page)];
    METALLIC_CHECK(entry.users > 0);
    if (--entry.users > 0) continue;
    entry.last_used = entry.content == 0 ? 0 : (clock_ << 24) + (lease.pages.size() - i);
    free_.emplace(entry.last_used, page);
  }
  lease = {};
}

}  // namespace metallic
