#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace metallic {
namespace {

void add_rows(Step& step, const Progress& progress, int index, int rows) {
  Batch& batch = step.batch;
  batch.sequences.push_back({batch.rows(), rows, progress.computed, progress.pages});
  step.sequences.push_back(index);
  for (int i = 0; i < rows; ++i) {
    const int position = progress.computed + i;
    batch.tokens.push_back(progress.tokens[size_t(position)]);
    batch.positions.push_back(position);
  }
  if (size_t(progress.computed + rows) < progress.tokens.size()) return;
  batch.logit_rows.push_back(batch.rows() - 1);
  step.finished.push_back(index);
}

}  // namespace

Step next_step(std::span<const Progress> progress, int max_rows) {
  METALLIC_CHECK(max_rows > 0);
  Step step;
  for (const bool decoding : {true, false})
    for (size_t i = 0; i < progress.size() && step.batch.rows() < max_rows; ++i) {
      const int left = int(progress[i].tokens.size()) - progress[i].computed;
      METALLIC_CHECK(left > 0);
      if ((left == 1) == decoding) add_rows(step, progress[i], int(i), std::min(left, max_rows - step.batch.rows()));
    }
  return step;
}

}  // namespace metallic
