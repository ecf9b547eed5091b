#include "convert/tensor_rules.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "base/printable.h"

namespace metallic::convert {
namespace {

struct Numbers {
  int64_t block = -1, number = -1;
};

// Whether `name` fits `pattern`, and the numbers in it.
std::optional<Numbers> match_pattern(std::string_view pattern, std::string_view name) {
  Numbers numbers;
  while (!pattern.empty()) {
    if (pattern.starts_with("{b}") || pattern.starts_with("{x}")) {
      int64_t& number = pattern[1] == 'b' ? numbers.block : numbers.number;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
      const auto digits = size_t(end - name.data());
      const bool plain = digits == 1 || (digits > 1 && name[0] != '0');
      if (error != std::errc() || number < 0 || number > INT32_MAX || !plain) return std::nullopt;
      name.remove_prefix(digits);
      pattern.remove_prefix(3);
    } else {
      if (name.empty() || name[0] != pattern[0]) return std::nullopt;
      name.remove_prefix(1);
      pattern.remove_prefix(1);
    }
  }
  return name.empty() ? std::optional(numbers) : std::nullopt;
}

bool ends_like_a_parameter(std::string_view name) { return name.ends_with(".weight") || name.ends_with(".bias"); }

std::string with_numbers(std::string_view pattern, int64_t block, int64_t number) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '{') {
      out += pattern[i];
      continue;
    }
    out += std::to_string(pattern[i + 1] == 'b' ? block : number);
    i += 2;
  }
  return out;
}

// The GGUF names of a rule, with `ending` where they have none of their own.
std::vector<std::string> target_names(std::string_view to, int64_t block, int64_t number, std::string_view ending) {
  std::vector<std::string> names;
  while (!to.empty()) {
    const std::string_view one = to.substr(0, to.find(','));
    to.remove_prefix(std::min(to.size(), one.size() + 1));
    std::string name = with_numbers(one, block, number);
    if (!ends_like_a_parameter(name)) name += ending;
    names.push_back(std::move(name));
  }
  return names;
}

std::optional<RuleMatch> find_rule(const CheckpointTensor& tensor, std::string_view name,
                                   std::span<const TensorRule> rules) {
  const bool has_ending = ends_like_a_parameter(name);
  const std::string_view stem = has_ending ? name.substr(0, name.rfind('.')) : name;
  const std::string_view ending = has_ending ? name.substr(stem.size()) : ".weight";
  for (const TensorRule& rule : rules) {
    std::optional<Numbers> numbers = match_pattern(rule.from, name);
    if (!numbers && has_ending) numbers = match_pattern(rule.from, stem);
    if (!numbers) continue;
    RuleMatch match{&tensor, &rule, numbers->block, numbers->number, ending == ".bias", {}};
    match.to = target_names(rule.to, match.block, match.number, ending);
    return match;
  }
  return std::nullopt;
}

// The shape that the rule gives the tensor; empty if it gives none.
std::vector<int64_t> wanted_shape(const RuleMatch& match, const Dims& dims) {
  std::string_view letters = match.rule->shape;
  const size_t slash = letters.find('/');
  if (match.is_bias && slash != std::string_view::npos)
    letters.remove_prefix(slash + 1);
  else if (match.is_bias && letters.size() > 1)
    letters.remove_suffix(1);
  else
    letters = letters.substr(0, slash);
  std::vector<int64_t> shape;
  for (const char letter : letters) shape.push_back(dims[letter]);
  return shape;
}

Status check_match(const RuleMatch& match, const Dims& dims) {
  const CheckpointTensor& tensor = *match.tensor;
  const std::vector<int64_t> wanted = wanted_shape(match, dims), found = match.shape();
  if (!wanted.empty() && wanted != found)
    return fail(ErrorCode::kCorrupt, "{}: the tensor {} has the shape [{}]; config.json asks for [{}]",
                tensor.file->path(), printable(tensor.name(), 200), fmt::join(found, ", "), fmt::join(wanted, ", "));
  if (tensor.info->bytes == 0)
    return fail(ErrorCode::kCorrupt, "{}: the tensor {} has no elements", tensor.file->path(),
                printable(tensor.name(), 200));
  return {};
}

Status check_required(std::span<const TensorRule> rules, const Dims& dims, const TensorPlan& plan) {
  for (const TensorRule& rule : rules) {
    if (!rule.required || rule.to.empty()) continue;
    const bool in_blocks = rule.to.find("{b}") != std::string_view::npos;
    for (int64_t block = 0; block < (in_blocks ? dims['L'] : 1); ++block)
      for (const std::string& name : target_names(rule.to, block, 0, ".weight"))
        if (!plan.has(name))
          return fail(ErrorCode::kNotFound, "the tensor {} is missing from the checkpoint; it becomes {}",
                      with_numbers(rule.from, block, 0), name);
  }
  return {};
}

}  // namespace

int64_t Dims::operator[](char letter) const {
  METALLIC_CHECK(has(letter));
  return sizes_[size_t(letter)];
}

std::vector<int64_t> RuleMatch::shape() const { return {tensor->info->shape.begin(), tensor->info->shape.end()}; }

Status copy_tensor(const RuleMatch& match, const Dims&, TensorPlan& plan) {
  std::vector<int64_t> shape = match.shape();
  if (shape.empty()) shape = {1};
  return plan.add(match.to.front(), std::move(shape), match.view());
}

Status apply_rules(const Checkpoint& checkpoint, std::span<const TensorRule> rules, const RuleOptions& options,
                   const Dims& dims, TensorPlan& plan) {
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    std::string_view name = tensor.name();
    const auto contained = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
    if (std::ranges::any_of(options.dropped, contained)) continue;
    for (const std::string_view prefix : options.prefixes) {
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      break;
    }
    const std::optional<RuleMatch> match = find_rule(tensor, name, rules);
    const bool beyond = match && match->block >= dims['L'];
    const bool unnamed_beyond =
        !match && options.drop_further_blocks && [&] {  // a block of another kind has tensors of its own
          const auto at = name.find("layers.");
          const auto numbers = at == 0 ? match_pattern("layers.{b}", name.substr(0, name.find('.', 7))) : std::nullopt;
          return numbers && numbers->block >= dims['L'];
        }();
    if (unnamed_beyond || (beyond && options.drop_further_blocks)) continue;
    if (!match)
      return fail(ErrorCode::kUnsupported,
                  "{}: the tensor {} has no place in this architecture; leaving it out would give wrong results",
                  tensor.file->path(), printable(tensor.name(), 200));
    if (match->rule->to.empty()) continue;
    if (beyond)
      return fail(ErrorCode::kCorrupt, "{}: the tensor {} is of block {}; config.json says that there are {}",
                  tensor.file->path(), printable(tensor.name(), 200), match->block, dims['L']);
    METALLIC_TRY(check_match(*match, dims));
    METALLIC_TRY(match->rule->transform(*match, dims, plan));
  }
  METALLIC_TRY(plan.check_complete());
  return check_required(rules, dims, plan);
}

}  // namespace metallic::convert
