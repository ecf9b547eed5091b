// Products of the same rows by slices of matrices, which come one after the other with points between them, as one
// product: what decodes weights before it multiplies passes the points as it decodes the slices.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "backend/cuda/commands.h"
#include "backend/cuda/points.h"

namespace metallic::cuda {

// Rows of a matrix, and the command that brought them.
struct Slice {
  WeightRef weight;
  size_t command;
};
// What WeightRef::codes points to in Layout::kSlices: on the host, while a list is launched.
using Slices = std::vector<Slice>;
inline const Slices& slices_of(const WeightRef& weight) { return *static_cast<const Slices*>(weight.codes); }
// Whether the matrices of a command are in slices: all or none are.
inline bool is_joined(const Command& command) {
  return command.kind == CommandKind::kLinear && command.linear.count > 0 &&
         command.linear.targets[0].weight.layout == Layout::kSlices;
}

// What a product by some of a joined command's matrices reads.
struct Parts {
  std::vector<WeightRef> weights;  // the slices, one after the other
  // The command up to which points may be passed before each of them is read, and when all have been: what is behind a
  // command only once all of its weights have been read, of other matrices, too.
  std::vector<size_t> reached;
};
// `matrices`: targets of `joined` that follow one another.
void collect_parts(const LinearArgs& joined, std::span<const WeightRef> matrices, Parts& to);

// A list with points. Good until the next join().
class JoinedCommands {
 public:
  // `can_join`: whether a product by matrices in slices is possible. Other products have to be launched behind the
  // points in front of them, and nothing before them with them.
  void join(std::span<const Command> commands, const Points& points,
            const std::function<bool(const LinearArgs&)>& can_join);

  std::span<const Command> commands() const { return commands_; }
  // The number that command `at` had, or the first that are joined in it.
  size_t origin(size_t at) const { return origins_[at]; }
  // What can be launched together from command `at` on.
  std::span<const Command> from(size_t at) const;

 private:
  std::vector<Command> commands_;
  std::vector<size_t> origins_;
  std::vector<bool> fences_;  // in front of the commands
  std::deque<Slices> slices_;
};

}  // namespace metallic::cuda
