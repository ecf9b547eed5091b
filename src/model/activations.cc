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

// An array of them: rows of so many floats each.
struct Activations::Part {
  float* Activations::*at;
  int64_t row_floats;
  int64_t rows;

  // Whole cache lines.
  std::optional<uint64_t> floats() const {
    constexpr uint64_t kAlignment = 64;
    const auto all = checked_multiply(uint64_t(row_floats), uint64_t(rows));
    return all ? checked_align(*all, kAlignment) : std::nullopt;
  }
};

std::vector<Activations::Part> Activations::parts_of(const Config& config, int max_rows, int output_rows) {
  using A = Activations;
  const int64_t rows = max_rows;
  const ExpertConfig& experts = config.experts;
  const LatentConfig& latent = config.latent;
  const int64_t inner = std::max<int64_t>(
      {int64_t(config.ff_width), int64_t(experts.used) * experts.width, int64_t(experts.shared_width)});
  const int64_t head_values = std::max(config.value_dim, latent.value_dim);
  return {
      {&A::residual, config.width, rows},
      {&A::normed, config.width, rows},
      {&A::ffn_input, config.width, rows},
      {&A::added, config.width, rows},
      {&A::query, config.query_width(), rows},
      {&A::key, config.key_width(), rows},
      {&A::value, config.value_width(), rows},
      {&A::attended, config.heads * head_values, rows},
      {&A::gate, inner, rows},
      {&A::up, inner, rows},
      {&A::logits, config.spec->encoder ? 0 : config.vocab, output_rows},
      {&A::chosen_floats_, 1, rows},
      {&A::router, experts.count, rows},
      {&A::expert_weights, experts.used, rows},
      {&A::expert_id_floats_, experts.used, rows},
      {&A::expert_output, int64_t(experts.used) * config.width, rows},
      {&A::latent_query, latent.query_rank, rows},
      {&A::latent, latent.rank > 0 ? latent.rank + config.rope.dims : 0, rows},
      {&A::whole_query, latent.rank > 0 ? int64_t(config.heads) * (latent.nope_dim + config.rope.dims) : 0, rows},
      {&A::whole_values, latent.rank > 0 ? int64_t(config.heads) * (latent.nope_dim + latent.value_dim) : 0, rows},
  };
}

std::optional<uint64_t> Activations::bytes_for(const Config& config, int max_rows, int output_rows) {
  uint64_t total = 0;
  for (const Part& part : parts_of(config, max_rows, output_rows)) {
    const auto floats = part.floats();
    const auto sum = floats ? checked_add(total, *floats) : std::nullopt;
    if (!sum || *sum > UINT64_MAX / sizeof(float)) return std::nullopt;
    total = *sum;
  }
  return total * sizeof(float);
}

Result<Activations> Activations::create(const Config& config, Backend& backend, int max_rows) {
  METALLIC_CHECK(max_rows > 0);
  Activations a;
  a.max_rows_ = max_rows;
  a.output_rows_ = std::min(max_rows, backend.logit_rows());
  const auto bytes = bytes_for(config, max_rows, a.output_rows_);
  if (!bytes)
    return fail(ErrorCode::kOutOfMemory, "activations for a batch of {} are too large; ask for a smaller batch (-b)",
                max_rows);
  a.bytes_ = *bytes;
  auto memory = backend.allocate(a.bytes_);
  if (!memory) return fail_while("activations (a smaller batch needs less)", memory.error());
  a.memory_ = std::move(*memory);
  auto* at = static_cast<float*>(a.memory_.get());
  for (const Part& part : parts_of(config, max_rows, a.output_rows_)) {
    a.*part.at = at;
    at += *part.floats();
  }
  a.expert_ids = reinterpret_cast<int32_t*>(a.expert_id_floats_);
  a.chosen = reinterpret_cast<int32_t*>(a.chosen_floats_);
  return a;
}

}  // namespace metallic
