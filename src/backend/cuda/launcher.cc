// From commands to kernels, one after the other.
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/launch.h"

namespace metallic::cuda {
namespace {

// Float32 throughout, in one order.
class ExactLauncher final : public Launcher {
 public:
  void run(std::span<const Command> commands, Points& points, Stream& stream) override {
    for (size_t at = 0; at < commands.size(); ++at) {
      points.pass(at);
      launch_exact(commands[at], stream.get());
      if (!stream.check(cudaGetLastError(), "launching a kernel")) return;
    }
  }
  bool decodes_first(int64_t) const override { return false; }
  uint64_t generation() const override { return 0; }
};

}  // namespace

void launch_exact(const Command& command, cudaStream_t stream) {
  switch (command.kind) {
    case CommandKind::kEmbed:
      return launch_blocks(command.embed, stream);
    case CommandKind::kNorm:
      return launch(command.norm, stream);
    case CommandKind::kLinear:
      return launch_blocks(command.linear, stream);
    case CommandKind::kRope:
      return launch(command.rope, stream);
    case CommandKind::kStore:
      return launch(command.store, stream);
    case CommandKind::kAttention:
      return launch(command.attention, stream);
    case CommandKind::kActivate:
      return launch(command.activate, stream);
    case CommandKind::kBinary:
      return launch(command.binary, stream);
    case CommandKind::kScale:
      return launch(command.scale, stream);
    case CommandKind::kRoute:
      return launch(command.route, stream);
    case CommandKind::kExperts:
      return launch_blocks(command.experts, stream);
    case CommandKind::kCombine:
      return launch(command.combine, stream);
    case CommandKind::kSoftmax:
      return launch(command.softmax, stream);
    case CommandKind::kMatmul:
      return launch(command.matmul, stream);
    case CommandKind::kCopy:
      return launch(command.copy, stream);
    case CommandKind::kRandom:
      return launch(command.random, stream);
    case CommandKind::kSample:
      return launch(command.sample, stream);
  }
}

std::unique_ptr<Launcher> make_launcher(Stream& stream, bool reproducible) {
  if (!reproducible) return make_fast_launcher(stream);
  return std::make_unique<ExactLauncher>();
}

}  // namespace metallic::cuda
