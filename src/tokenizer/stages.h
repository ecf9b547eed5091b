// What pre-tokenisers that work in stages are made of: each stage cuts every piece of the one before.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "tokenizer/scan.h"

namespace metallic {

// The last stage: notes where the piece ends.
struct Emit {
  const char* base;
  uint32_t* ends;
  size_t count = 0;

  void operator()(const char*, const char* end) { ends[count++] = uint32_t(end - base); }
};

// Cuts [begin, end) into the matches of `match` and the stretches between them, and hands each to `next`.
// match(scanner, p) gives the end of the match at p, or p where there is none.
template <class Match, class Next>
void isolate(const char* begin, const char* end, Match match, Next&& next) {
  const Scanner scan(end);
  const char* gap = begin;
  for (const char* p = begin; p < end;) {
    const char* q = match(scan, p);
    if (q == p) {
      p = scan.skip(p);
      continue;
    }
    if (gap < p) next(gap, p);
    next(p, q);
    gap = p = q;
  }
  if (gap < end) next(gap, end);
}

struct Range {
  uint32_t first, last;
};

template <size_t kCount>
inline bool in_ranges(const std::array<Range, kCount>& ranges, uint32_t code_point) {
  const auto after = std::ranges::upper_bound(ranges, code_point, {}, &Range::first);
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

// Hands the pieces that `split` makes of [begin, end) to `next`. `scratch` has room for a number for each byte.
template <class Next>
void split_stage(size_t (*split)(std::string_view, uint32_t*), const char* begin, const char* end, uint32_t* scratch,
                 Next&& next) {
  const size_t count = split({begin, size_t(end - begin)}, scratch);
  const char* start = begin;
  for (size_t i = 0; i < count; ++i) {
    next(start, begin + scratch[i]);
    start = begin + scratch[i];
  }
}

}  // namespace metallic
