#include "backend/cuda/slices.h"

#include <algorithm>

#include "backend/cuda/accesses.h"
#include "backend/cuda/fusions.h"
#include "backend/cuda/gemm.h"

namespace metallic::cuda {
namespace {

// A product that grows by others with the same rows.
class Joining {
 public:
  Joining(const LinearArgs& first, std::deque<Slices>& slices) : slices_(slices), before_(slices.size()) {
    linear_ = first;
    linear_.count = 0;
  }

  // Whether all of the product was taken; if not, none was.
  bool take(const LinearArgs& next, size_t command) {
    if (!same(next.x, linear_.x) || next.rows != linear_.rows || next.columns != linear_.columns) return false;
    const LinearArgs was = linear_;
    const size_t matrices = slices_.size();
    const size_t parts = matrices > before_ ? slices_.back().size() : 0;
    for (int i = 0; i < next.count; ++i) {
      if (take(next.targets[i], command)) continue;
      linear_ = was;
      slices_.resize(matrices);
      if (matrices > before_) slices_.back().resize(parts);
      return false;
    }
    return true;
  }

  const LinearArgs& linear() const { return linear_; }
  void drop() { slices_.resize(before_); }

 private:
  bool take(const LinearArgs::Target& target, size_t command) {
    if (target.weight.layout == Layout::kSlices) return false;
    if (linear_.count > 0 && continues(linear_.targets[linear_.count - 1], target)) {
      linear_.targets[linear_.count - 1].weight.rows += target.weight.rows;
      slices_.back().push_back({target.weight, command});
      return true;
    }
    if (linear_.count == LinearArgs::kTargets || meets_others(target)) return false;
    slices_.push_back({{target.weight, command}});
    LinearArgs::Target& to = linear_.targets[linear_.count++];
    to = target;
    to.weight = {};
    to.weight.codes = &slices_.back();
    to.weight.rows = target.weight.rows;
    to.weight.columns = target.weight.columns;
    to.weight.format = target.weight.format;
    to.weight.layout = Layout::kSlices;
    return true;
  }

  static bool continues(const LinearArgs::Target& before, const LinearArgs::Target& next) {
    const int rows = before.weight.rows;
    const bool bias = before.bias == nullptr ? next.bias == nullptr : next.bias == before.bias + rows;
    return next.out.data == before.out.data + rows && next.out.stride == before.out.stride && bias &&
           next.accumulate == before.accumulate && next.weight.format == before.weight.format &&
           Gemm::wants_half(next.weight) == Gemm::wants_half(before.weight) &&
           rows + next.weight.rows <= before.out.stride;
  }

  // Whether its result lies where x or another result does.
  bool meets_others(const LinearArgs::Target& target) const {
    const Region region = region_of(target.out, linear_.rows, target.weight.rows);
    const auto meets = [&](const Rows& rows, int width) {
      const Region other = region_of(rows, linear_.rows, width);
      return region.begin < other.end && other.begin < region.end;
    };
    return meets(linear_.x, linear_.columns) ||
           std::any_of(linear_.targets, linear_.targets + linear_.count,
                       [&](const LinearArgs::Target& other) { return meets(other.out, other.weight.rows); });
  }

  LinearArgs linear_;
  std::deque<Slices>& slices_;
  size_t before_;
};

}  // namespace

void collect_parts(const LinearArgs& joined, std::span<const WeightRef> matrices, Parts& to) {
  to.weights.clear();
  to.reached.clear();
  for (const WeightRef& matrix : matrices)
    for (const Slice& slice : slices_of(matrix)) {
      to.weights.push_back(slice.weight);
      to.reached.push_back(slice.command);
    }
  const bool all = matrices.back().codes == joined.targets[joined.count - 1].weight.codes;
  to.reached.push_back(to.reached.back() + (all ? 1 : 0));
}

void JoinedCommands::join(std::span<const Command> commands, const Points& points,
                          const std::function<bool(const LinearArgs&)>& can_join) {
  commands_.clear();
  origins_.clear();
  fences_.clear();
  slices_.clear();
  const auto add = [&](const Command& command, size_t origin, bool fence) {
    commands_.push_back(command);
    origins_.push_back(origin);
    fences_.push_back(fence);
  };
  for (size_t at = 0; at < commands.size();) {
    const Command& command = commands[at];
    if (command.kind != CommandKind::kLinear) {
      add(command, at, false);
      ++at;
      continue;
    }
    Joining joining(command.linear, slices_);
    size_t end = at;
    while (end < commands.size() && commands[end].kind == CommandKind::kLinear &&
           joining.take(commands[end].linear, end))
      ++end;
    if (end > at && points.any(at, end) && can_join(joining.linear())) {
      Command joined(CommandKind::kLinear);
      joined.linear = joining.linear();
      add(joined, at, false);
      at = end;
    } else {
      joining.drop();
      add(command, at, points.any(at, at));
      ++at;
    }
  }
}

std::span<const Command> JoinedCommands::from(size_t at) const {
  const auto next = std::find(fences_.begin() + ptrdiff_t(at) + 1, fences_.end(), true);
  return std::span(commands_).subspan(at, size_t(next - fences_.begin()) - at);
}

}  // namespace metallic::cuda
