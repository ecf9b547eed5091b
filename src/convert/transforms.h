// What conversion does to tensors besides renaming them. Each is a Transform for a TensorRule.
#pragma once

#include "convert/tensor_rules.h"

namespace metallic::convert {

// Rows of Q and K, (heads, 2, D / 2): the two halves of a head are interleaved, so that rope turns neighbours.
Status permute_query(const RuleMatch& match, const Dims& dims, TensorPlan& plan);
Status permute_key(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

// w + 1: norms of Gemma, which multiply by 1 + w.
Status add_one(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

// (in, out) -> (out, in): the Conv1D of GPT-2. A bias stays.
Status transpose_matrix(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

// The first half of the rows (the dimension before the last) to the first name, the second to the other.
Status split_halves(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

// Matrix {x} of Dims['E'] experts: all become one tensor (experts, rows, columns).
Status stack_experts(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

// Vector {x} of Dims['H'] or Dims['K'] heads: all become one tensor (heads, D).
Status stack_query_heads(const RuleMatch& match, const Dims& dims, TensorPlan& plan);
Status stack_key_heads(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

}  // namespace metallic::convert
