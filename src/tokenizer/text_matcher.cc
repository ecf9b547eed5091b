#include "tokenizer/text_matcher.h"

#include <algorithm>
#include <cstring>

namespace metallic {

void TextMatcher::build(std::vector<Entry> entries) {
  entries_ = std::move(entries);
  std::ranges::stable_sort(entries_, {}, &Entry::text);
  const auto same_text = [](const Entry& a, const Entry& b) { return a.text == b.text; };
  entries_.erase(std::unique(entries_.begin(), entries_.end(), same_text), entries_.end());
  first_of_.fill(0);
  for (const Entry& entry : entries_) ++first_of_[uint8_t(entry.text[0]) + size_t{1}];
  for (size_t byte = 0; byte < 256; ++byte) first_of_[byte + 1] += first_of_[byte];
  only_first_byte_ = -1;
  if (!entries_.empty() && entries_.front().text[0] == entries_.back().text[0]) {
    only_first_byte_ = uint8_t(entries_.front().text[0]);
  }
}

size_t TextMatcher::next_candidate(std::string_view text, size_t from) const {
  if (only_first_byte_ >= 0) {
    const void* found =
        from < text.size() ? std::memchr(text.data() + from, only_first_byte_, text.size() - from) : nullptr;
    return found == nullptr ? text.size() : size_t(static_cast<const char*>(found) - text.data());
  }
  while (from < text.size() && first_of_[uint8_t(text[from])] == first_of_[uint8_t(text[from]) + size_t{1}]) ++from;
  return from;
}

TextMatcher::Match TextMatcher::longest_at(std::string_view text, size_t at, size_t longest) const {
  const uint8_t first = uint8_t(text[at]);
  auto low = entries_.begin() + first_of_[first];
  auto high = entries_.begin() + first_of_[size_t{first} + 1];
  const size_t limit = std::min(longest, text.size() - at);
  Match match{at, 0, kNoToken};
  for (size_t size = 1; low != high && size <= limit;
       ++size) {  // all of [low, high) agree with the text in `size` bytes
    if (low->text.size() == size) {
      match.size = size;
      match.id = low->id;
      ++low;
    }
    if (size == limit) break;
    const uint8_t next = uint8_t(text[at + size]);
    const auto byte_at = [size](const Entry& entry) { return uint8_t(entry.text[size]); };
    low = std::ranges::lower_bound(low, high, next, {}, byte_at);
    high = std::ranges::upper_bound(low, high, next, {}, byte_at);
  }
  return match;
}

void TextMatcher::resolve(std::string_view text, size_t begin, size_t end, size_t longest,
                          std::vector<Match>& out) const {
  const std::string_view visible = text.substr(0, end);
  size_t best = 0;
  for (size_t at = next_candidate(visible, begin); at < end; at = next_candidate(visible, at + 1)) {
    best = std::max(best, longest_at(visible, at, longest).size);
  }
  if (best == 0) return;
  size_t gap = begin;
  for (size_t at = next_candidate(visible, begin); at < end;) {
    const Match match = longest_at(visible, at, best);
    if (match.size == best) {
      resolve(text, gap, at, best - 1, out);
      out.push_back(match);
      gap = at + best;
    }
    at = next_candidate(visible, match.size == best ? gap : at + 1);
  }
  resolve(text, gap, end, best - 1, out);
}

void TextMatcher::find(std::string_view text, std::vector<Match>& out) const {
  out.clear();
  if (entries_.empty()) return;
  for (size_t at = next_candidate(text, 0); at < text.size();) {
    const Match match = longest_at(text, at, text.size());
    size_t end = at + std::max<size_t>(match.size, 1);
    bool overlaps = false;  // then grow to the end of all that overlap
    for (size_t inner = next_candidate(text, at + 1); inner < end; inner = next_candidate(text, inner + 1)) {
      const size_t size = longest_at(text, inner, text.size()).size;
      overlaps |= size > 0;
      end = std::max(end, inner + size);
    }
    if (overlaps)
      resolve(text, at, end, end - at, out);
    else if (match.size > 0)
      out.push_back(match);
    at = next_candidate(text, end);
  }
}

}  // namespace metallic
