// What the sums of panels become: bias, residual, and where they go. Plain loops, which the compiler turns into the
// vectors of the instruction set. Included in the unnamed namespace of each folder's panels.cc.

// `kRows` sums of each token, or in.rows if that is 0.
template <int kRows>
void store_rows(const PanelSums& in) {
  const int64_t rows = kRows > 0 ? kRows : in.rows;
  for (int64_t t = 0; t < in.tokens; ++t) {
    const float* sums = in.sums + t * in.stride;
    float* out = in.out.rows + (in.out_rows != nullptr ? in.out_rows[t] : t) * in.out.stride;
    float value[kRows > 0 ? kRows : kMaxPanels * P::kWidth];
    for (int64_t r = 0; r < rows; ++r) value[r] = sums[r];
    if (in.seconds != nullptr)
      for (int64_t r = 0; r < rows; ++r) value[r] = value[r] + in.seconds[t * in.seconds_stride + r];
    if (in.out.bias != nullptr)
      for (int64_t r = 0; r < rows; ++r) value[r] = value[r] + in.out.bias[r];
    if (in.out.accumulate)
      for (int64_t r = 0; r < rows; ++r) value[r] = out[r] + value[r];
    for (int64_t r = 0; r < rows; ++r) out[r] = value[r];
  }
}

void store_sums(const PanelSums& in) {
  if (in.rows == P::kPanels * P::kWidth)
    store_rows<P::kPanels * P::kWidth>(in);
  else
    store_rows<0>(in);
}
