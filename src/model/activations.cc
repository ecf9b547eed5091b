#include "model/activations.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/error.h"

namespace metallic {

TensorView row_view(float* data, int64_t rows, int64_t width) {
  return TensorView::dense(data, Format::kF32, {rows, width});
}
TensorView head_view(float* data, int64_t rows, int64_t count, int64_t width) {
  return TensorView::dense(data, Format::kF32, {rows, count, width});
}

Result<Activations> Activations::create(const Config& config, Backend& backend, int max_rows) {
  METALLIC_CHECK(max_rows > 0);
  Activations a;
  a.max_rows_ = max_rows;
  a.output_rows_ = std::min(max_rows, backend.logit_rows());
  struct Part {
    float** at;
    int64_t row_floats;
    int64_t rows;
  };
  const int64_t rows = max_rows;
  const ExpertConfig& experts = config.experts;
  const LatentConfig& latent = config.latent;
  const int64_t inner = std::max<int64_t>(
      {int64_t(config.ff_width), int64_t(experts.used) * experts.width, int64_t(experts.shared_width)});
  const int64_t head_values = std::max(config.value_dim, latent.value_dim);
  float *ids = nullptr, *chosen = nullptr;
  const Part parts[] = {
      {&a.residual, config.width, rows},
      {&a.normed, config.width, rows},
      {&a.ffn_input, config.width, rows},
      {&a.added, config.width, rows},
      {&a.query, config.query_width(), rows},
      {&a.key, config.key_width(), rows},
      {&a.value, config.value_width(), rows},
      {&a.attended, config.heads * head_values, rows},
      {&a.gate, inner, rows},
      {&a.up, inner, rows},
      {&a.logits, config.spec->encoder ? 0 : config.vocab, a.output_rows_},
      {&chosen, 1, rows},
      {&a.router, experts.count, rows},
      {&a.expert_weights, experts.used, rows},
      {&ids, experts.used, rows},
      {&a.expert_output, int64_t(experts.used) * config.width, rows},
      {&a.latent_query, latent.query_rank, rows},
      {&a.latent, latent.rank > 0 ? latent.rank + config.rope.dims : 0, rows},
      {&a.whole_query, latent.rank > 0 ? int64_t(config.heads) * (latent.nope_dim + config.rope.dims) : 0, rows},
      {&a.whole_values, latent.rank > 0 ? int64_t(config.heads) * (latent.nope_dim + latent.value_dim) : 0, rows},
  };
  constexpr uint64_t kAlignment = 64;  // floats: whole cache lines
  std::vector<uint64_t> offsets;
  uint64_t total = 0;
  for (const Part& part : parts) {
    offsets.push_back(total);
    const auto floats = checked_multiply(uint64_t(part.row_floats), uint64_t(part.rows));
    const auto padded = floats ? checked_align(*floats, kAlignment) : std::nullopt;
    const auto sum = padded ? checked_add(total, *padded) : std::nullopt;
    if (!sum || *sum > UINT64_MAX / sizeof(float))
      return fail(ErrorCode::kOutOfMemory, "activations for a batch of {} are too large; ask for a smaller batch (-b)",
                  max_rows);
    total = *sum;
  }
  a.bytes_ = total * sizeof(float);
  auto memory = backend.allocate(a.bytes_);
  if (!memory) return fail_while("activations (a smaller batch needs less)", memory.error());
  a.memory_ = std::move(*memory);
  for (size_t i = 0; i < offsets.size(); ++i) *parts[i].at = static_cast<float*>(a.memory_.get()) + offsets[i];
  a.expert_ids = reinterpret_cast<int32_t*>(ids);
  a.chosen = reinterpret_cast<int32_t*>(chosen);
  return a;
}

}  // namespace metallic
