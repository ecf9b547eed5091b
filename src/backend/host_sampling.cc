// The best of a row of logits on the host, in pieces: the same for any number of threads, since the lower of equals
// wins.
#include <algorithm>
#include <cmath>

#include "backend/host_backend.h"
#include "backend/strided.h"
#include "base/check.h"

namespace metallic {
namespace {

constexpr int64_t kPiece = 8192;  // logits
constexpr int64_t kLanes = 16;    // maxima side by side, for the compiler's vectors

}  // namespace

// The best of [begin, end); kChooseOnHost if a NaN or infinity is among them, or nothing above -infinity.
HostBackend::Best HostBackend::best_of(const float* logits, int64_t begin, int64_t end) {
  float most[kLanes];
  std::fill_n(most, kLanes, -INFINITY);
  bool numbers = true;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float logit = logits[i + lane];
      numbers &= logit < INFINITY;  // false for NaN too
      most[lane] = logit > most[lane] ? logit : most[lane];
    }
  for (; i < end; ++i) {
    numbers &= logits[i] < INFINITY;
    most[0] = logits[i] > most[0] ? logits[i] : most[0];
  }
  if (!numbers) return {INFINITY, kChooseOnHost};
  const float best = *std::max_element(most, most + kLanes);
  if (best == -INFINITY) return {-INFINITY, kChooseOnHost};
  return {best, int32_t(std::find(logits + begin, logits + end, best) - logits)};
}

bool HostBackend::can_sample(const SampleRow& row) const {
  return !row.on_host && row.temperature == 0 && row.changes.empty();
}

void HostBackend::sample(const SampleOp& op) {
  METALLIC_CHECK(op.logits.shape[0] == int64_t(op.rows.size()));
  if (op.head != nullptr) {
    linear({op.x, {op.head, 1}});
    if (op.scale != 1.0f || op.softcap > 0) scale(op.logits, op.scale, op.softcap);
  }
  const int64_t rows = op.logits.shape[0], width = op.logits.shape[1], pieces = (width + kPiece - 1) / kPiece;
  best_.assign(size_t(rows * pieces), {-INFINITY, kChooseOnHost});
  pool_.parallel_for(rows * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (can_sample(op.rows[size_t(i / pieces)])) {
        const int64_t from = i % pieces * kPiece;
        best_[size_t(i)] = best_of(float_at(op.logits, i / pieces), from, std::min(width, from + kPiece));
      }
  });
  for (int64_t row = 0; row < rows; ++row) {
    Best best = {-INFINITY, kChooseOnHost};
    for (int64_t i = row * pieces; i < (row + 1) * pieces; ++i)
      if (best_[size_t(i)].logit > best.logit) best = best_[size_t(i)];
    op.ids[row] = best.id;
  }
}

}  // namespace metallic
