// The products of listed tokens of each group with unpacked panels. Included in the unnamed namespace of each folder's
// panels.cc, after the products themselves.

// Of a group's tokens from place `at` on as many as possible kTokens at a time, and then the rest, fewer at once.
template <class Dots, int kTokens = Dots::kMostTokens>
[[gnu::always_inline]] inline void add_listed(const UnpackedPanel& panels, int64_t panel_groups, int64_t g,
                                              const ListedTokens& tokens, int64_t at, int64_t count, float* sums) {
  for (; count >= kTokens; count -= kTokens, at += kTokens)
    Dots::template add<kTokens>(panels, panel_groups, g,
                                {tokens.codes + at * kGroupColumns, tokens.info + at, tokens.tokens + at}, sums);
  if constexpr (kTokens > 1)
    if (count > 0) add_listed<Dots, kTokens - 1>(panels, panel_groups, g, tokens, at, count, sums);
}

template <class Dots>
void dot_listed(const UnpackedPanel& panels, int64_t panel_groups, int64_t first_group, const ListedTokens& tokens,
                float* sums) {
  const UnpackedPanel these = panels;  // in registers
  const ListedTokens list = tokens;
  for (const int32_t group : list.groups)
    add_listed<Dots>(these, panel_groups, group - first_group, list, group * list.places, list.counts[group], sums);
}
