// From Hugging Face's tensor names to GGUF's: a table per architecture, and what applies it.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convert/checkpoint.h"
#include "convert/tensor_plan.h"
#include "metallic/result.h"

namespace metallic::convert {

// The sizes that shapes in rules are written in, one letter each (arch.h lists the common ones).
class Dims {
 public:
  void set(char letter, int64_t size) { sizes_[size_t(letter)] = size; }
  bool has(char letter) const { return sizes_[size_t(letter)] >= 0; }
  int64_t operator[](char letter) const;  // must be set

 private:
  std::array<int64_t, 128> sizes_ = [] {
    std::array<int64_t, 128> none;
    none.fill(-1);
    return none;
  }();
};

struct RuleMatch;

// Puts the tensor of `match` into the plan. Its shape is the one that the rule asks for.
using Transform = Status (*)(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

Status copy_tensor(const RuleMatch& match, const Dims& dims, TensorPlan& plan);

struct TensorRule {
  // Without ".weight" or ".bias", which are carried over; {b} is a block, {x} an expert or a head. A name that has
  // neither ending is written whole and gets ".weight", unless `to` says otherwise.
  std::string_view from;
  std::string_view to;  // "" drops the tensor; several names are separated by commas
  // One letter of Dims for each dimension of the weight; a bias lacks the last of several, or has what follows a slash.
  std::string_view shape;
  Transform transform = copy_tensor;
  bool required = true;  // in every block
};

// One table from several.
template <size_t... kSizes>
constexpr auto join_rules(const std::array<TensorRule, kSizes>&... tables) {
  std::array<TensorRule, (kSizes + ...)> all;
  size_t at = 0;
  const auto append = [&](const auto& table) {
    for (const TensorRule& rule : table) all[at++] = rule;
  };
  (append(tables), ...);
  return all;
}

struct RuleMatch {
  const CheckpointTensor* tensor = nullptr;
  const TensorRule* rule = nullptr;
  int64_t block = -1, number = -1;  // {b}, {x}
  bool is_bias = false;
  std::vector<std::string> to;  // complete names

  WeightView view() const { return WeightView(*tensor); }
  std::vector<int64_t> shape() const;
};

struct RuleOptions {
  std::span<const std::string_view> prefixes;  // the first that a name begins with is removed
  std::span<const std::string_view> dropped;   // names that contain one of these are not converted
  bool drop_further_blocks = false;  // blocks from Dims['L'] on (multi-token prediction); else they are an error
};

// Matches every tensor of the checkpoint with a rule and plans it. Dims['L'] is the number of blocks. Errors name the
// tensor: kUnsupported (no rule), kCorrupt (another shape, an unknown block), kNotFound (a required tensor is missing).
Status apply_rules(const Checkpoint& checkpoint, std::span<const TensorRule> rules, const RuleOptions& options,
                   const Dims& dims, TensorPlan& plan);

}  // namespace metallic::convert
