// Plans a list of commands: neighbours that one kernel can do together become one launch. Every fused kernel also
// writes what the single operations would have written, so no command has to know whether another one reads it.
#include <algorithm>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/fast.h"
#include "backend/cuda/fusions.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/planes.h"
#include "backend/cuda/wide_launcher.h"

namespace metallic::cuda {
namespace {

class FastLauncher final : public Launcher {
 public:
  explicit FastLauncher(Stream& stream)
      : quantised_(stream),
        next_codes_(stream),
        partial_(stream),
        arrived_(stream),
        few_partial_(stream),
        few_arrived_(stream),
        gate_arrived_(stream),
        wide_(stream) {
    dependent_ = stream.properties().major >= 9;
  }

  void run(std::span<const Command> commands, Points& points, Stream& stream) override {
    stream_ = &stream;
    ready_ = {};
    wide_.begin(points);
    if (points.empty()) {
      for (size_t at = 0, taken = 1; at < commands.size() && taken > 0; at += taken)
        taken = launch_some(commands.subspan(at));
      return;
    }
    joined_.join(commands, points, [this](const LinearArgs& linear) { return wide_.takes_slices(linear); });
    for (size_t at = 0, taken = 1; at < joined_.commands().size() && taken > 0; at += taken) {
      if (!is_joined(joined_.commands()[at])) points.pass(joined_.origin(at));
      taken = launch_some(joined_.from(at));
    }
  }
  bool decodes_first(int64_t rows) const override { return wide_.decodes_first(rows); }
  uint64_t generation() const override {
    return quantised_.generation() + next_codes_.generation() + partial_.generation() + arrived_.generation() +
           few_partial_.generation() + few_arrived_.generation() + gate_arrived_.generation() + wide_.generation();
  }

 private:
  // Launches the first commands of the list and says how many; 0 after a failure.
  size_t launch_some(std::span<const Command> commands) {
    if (commands.front().kind != CommandKind::kLinear) ready_ = {};  // it is for the very next command
    const size_t taken = step(commands);
    return stream_->check(cudaGetLastError(), "launching a kernel") ? taken : 0;
  }
  size_t step(std::span<const Command> commands) {
    if (const size_t taken = wide_.step(commands); taken > 0) return taken;
    const Command& command = commands.front();
    switch (command.kind) {
      case CommandKind::kNorm:
        return norm(commands);
      case CommandKind::kLinear:
        if (is_joined(command)) {
          stream_->check(cudaErrorUnknown, "multiplying by a matrix in slices");  // unless the cause is known
          return 0;
        }
        return linear(commands, nullptr);
      case CommandKind::kAttention:
        attention(commands);
        return 1;
      case CommandKind::kEmbed:
        command.embed.weight.layout == Layout::kPlanes ? launch_planes(command.embed, stream_->get())
                                                       : launch_blocks(command.embed, stream_->get());
        return 1;
      case CommandKind::kExperts:
        experts(command.experts);
        return 1;
      default:
        launch_exact(command, stream_->get());
        return 1;
    }
  }

  // A norm whose result is quantised for the product behind it.
  size_t norm(std::span<const Command> commands) {
    const NormArgs& norm = commands.front().norm;
    constexpr int kWidest = 32768;
    const bool followed = commands.size() > 1 && commands[1].kind == CommandKind::kLinear && norm.heads == 1 &&
                          same(commands[1].linear.x, norm.out) && commands[1].linear.rows == norm.rows &&
                          commands[1].linear.columns == norm.width && norm.width % 32 == 0 && norm.width <= kWidest;
    if (!followed || commands[1].linear.rows == 0 || is_wide(commands[1].linear) || !is_tuned(commands[1].linear)) {
      launch(norm, stream_->get());
      return 1;
    }
    const size_t taken = linear(commands.subspan(1), &norm);
    return taken == 0 ? 0 : 1 + taken;
  }

  // Whether there are more rows than the kernels for few have.
  static bool is_wide(const LinearArgs& linear) { return linear.rows > kMostTokens && !is_few(linear); }

  // Whether all targets have a kernel for a few rows.
  static bool is_tuned(const LinearArgs& linear) {
    const bool x_aligned = is_aligned(linear.x);
    return std::all_of(linear.targets, linear.targets + linear.count, [&](const LinearArgs::Target& target) {
      return has_matvec(target.weight) && (target.weight.layout == Layout::kPlanes || x_aligned);
    });
  }

  // Two formats that one kernel reads.
  static bool is_mix(const LinearArgs& linear) {
    const WeightRef &first = linear.targets[0].weight, &last = linear.targets[linear.count - 1].weight;
    return is_planes(linear) && can_mix(first.format, last.format) &&
           std::all_of(linear.targets, linear.targets + linear.count, [&](const LinearArgs::Target& target) {
             return target.weight.format == first.format || target.weight.format == last.format;
           });
  }

  // Codes and groups for `rows` rows in working memory.
  static Quantised codes_in(Scratch& scratch, int64_t rows, int64_t columns) {
    const uint64_t codes = uint64_t(rows * columns + 255) / 256 * 256;
    char* memory = static_cast<char*>(scratch.get(codes + uint64_t(rows * columns / 32) * 8));
    if (memory == nullptr) return {};
    return {reinterpret_cast<int8_t*>(memory), memory + codes};
  }

  bool quantise(const Rows& x, int rows, int columns, const NormArgs* norm, Quantised& to) {
    to = codes_in(quantised_, rows, columns);
    if (to.codes == nullptr) return false;
    launch_quantise(x, rows, columns, norm, to);
    return true;
  }
  void launch_quantise(const Rows& x, int rows, int columns, const NormArgs* norm, const Quantised& to) {
    QuantiseArgs args = {};
    args.x = norm ? Rows{norm->x.data, norm->x.row_stride} : x;
    args.rows = rows;
    args.columns = columns;
    args.aligned = is_aligned(args.x);
    args.has_norm = norm != nullptr;
    if (norm) args.norm = *norm;
    args.to = to;
    args.dependent = dependent_;
    launch(args, stream_->get());
  }

  // `norm`: what makes x, not launched yet.
  size_t linear(std::span<const Command> commands, const NormArgs* norm) {
    const LinearArgs& linear = commands.front().linear;
    if (linear.rows == 0) return 1;
    if (is_wide(linear)) {
      wide_linear(linear);
      return 1;
    }
    const bool planes =
        std::any_of(linear.targets, linear.targets + linear.count,
                    [](const LinearArgs::Target& target) { return target.weight.layout == Layout::kPlanes; });
    if (!is_tuned(linear)) {
      if (!planes) {
        launch_blocks(linear, stream_->get());
        return 1;
      }
      return one_by_one(linear);
    }
    MatvecArgs args = {};
    args.floats = linear.x;
    args.tokens = linear.rows;
    args.columns = linear.columns;
    if (!prepare_input(linear, norm, planes, args)) return 0;
    ready_ = {};
    const size_t fused = plan_epilogue(commands, args);
    if (args.epilogue == Epilogue::kGated && !is_few(linear)) plan_codes(commands.subspan(1 + fused), args);
    args.before_gate = planes && is_before_gate(commands.subspan(1 + fused));
    launch_by_format(linear, args);
    return 1 + fused;
  }

  // x in eight bits: what the kernel before has left, or by the kernel itself, or by one of its own. For plain numbers
  // only the norm.
  bool prepare_input(const LinearArgs& linear, const NormArgs* norm, bool planes, MatvecArgs& args) {
    if (!norm && same(ready_.x, linear.x) && ready_.rows == linear.rows && ready_.columns == linear.columns) {
      args.x = ready_.codes;
      return true;
    }
    if (norm && linear.rows == 1 && !norm->layer && norm->bias == nullptr && linear.columns <= kWidestPrologue &&
        norm->out.data != norm->x.data && is_aligned(norm->x.data) && is_aligned(norm->weight)) {
      args.has_norm = 1;
      args.norm = *norm;
      return true;
    }
    if (planes) return quantise(linear.x, linear.rows, linear.columns, norm, args.x);
    if (norm) launch_quantise(linear.x, linear.rows, linear.columns, norm, {});
    return true;
  }

  // The output of a gate in eight bits, if that is what the next product wants.
  void plan_codes(std::span<const Command> commands, MatvecArgs& args) {
    const MatvecArgs::Target& gate = args.targets[0];
    const int width = gate.weight.rows;
    if (commands.empty() || commands[0].kind != CommandKind::kLinear || width % 32 != 0) return;
    const LinearArgs& next = commands[0].linear;
    if (!same(next.x, gate.out) || next.rows != args.tokens || next.columns != width || !is_planes(next)) return;
    args.to = codes_in(next_codes_, args.tokens, width);
    if (args.to.codes) ready_ = {next.x, args.tokens, width, args.to};
    if (args.tokens == 1) args.arrived = zeroed_counters(gate_arrived_, kMostGroups, *stream_);
  }

  // A norm, and then what plan_gate takes.
  static bool is_before_gate(std::span<const Command> commands) {
    return commands.size() > 2 && commands[0].kind == CommandKind::kNorm && commands[1].kind == CommandKind::kLinear &&
           commands[1].linear.count == 2 && is_gate(commands[1].linear, commands[2]);
  }

  // Targets of which some have no tuned kernel.
  size_t one_by_one(const LinearArgs& linear) {
    for (int i = 0; i < linear.count; ++i) {
      Command single(CommandKind::kLinear);
      single.linear = linear;
      single.linear.count = 1;
      single.linear.targets[0] = linear.targets[i];
      if (this->linear({&single, 1}, nullptr) == 0) return 0;
    }
    return 1;
  }

  // How many of the commands behind the linear one its kernel does as well.
  size_t plan_epilogue(std::span<const Command> commands, MatvecArgs& args) {
    const LinearArgs& linear = commands.front().linear;
    for (int i = 0; i < linear.count; ++i) {
      MatvecArgs::Target& target = args.targets[i];
      target = {};
      target.weight = linear.targets[i].weight;
      target.bias = linear.targets[i].bias;
      target.out = linear.targets[i].out;
      target.accumulate = linear.targets[i].accumulate;
    }
    if (linear.count == 2 && commands.size() > 1 && plan_gate(linear, commands[1], args)) return 1;
    if (linear.count == 3) {
      if (const size_t fused = plan_attention(commands, args); fused > 0) return fused;
    }
    if (linear.count == 1 && commands.size() > 1 && plan_residual(linear, commands[1], args)) return 1;
    return 0;
  }

  static bool plan_gate(const LinearArgs& linear, const Command& next, MatvecArgs& args) {
    const WeightRef &up = linear.targets[0].weight, &gate = linear.targets[1].weight;
    if (!is_gate(linear, next) || up.format != gate.format || up.layout != gate.layout) return false;
    std::swap(args.targets[0], args.targets[1]);
    args.epilogue = Epilogue::kGated;
    args.activation = next.activate.activation;
    args.clamp = next.activate.clamp;
    return true;
  }

  static bool plan_residual(const LinearArgs& linear, const Command& next, MatvecArgs& args) {
    Rows residual = {};
    if (!is_residual(linear, next, residual)) return false;
    // Blocks that have not begun yet read what the norm reads.
    if (args.has_norm && args.norm.x.data == residual.data) return false;
    args.targets[0].residual = residual.data;
    args.targets[0].residual_stride = residual.stride;
    return true;
  }

  static size_t plan_attention(std::span<const Command> commands, MatvecArgs& args) {
    QueryKeyValue found;
    if (!is_query_key_value(commands, found)) return 0;
    const StoreArgs& store = *found.store;
    for (int i = 0; i < 3; ++i) {
      MatvecArgs::Target& to = args.targets[i];
      if (found.widths[i] % 8 != 0) return 0;
      to.head_width = found.widths[i];
      to.store = i;
      if (i == 2 || found.ropes[i] == nullptr) continue;
      const RopeArgs& rope = *found.ropes[i];
      if (!rope.interleaved && rope.pairs % 4 != 0) return 0;
      to.pairs = rope.pairs;
      to.frequencies = rope.frequencies;
      to.magnitude = rope.magnitude;
      to.interleaved = rope.interleaved;
      args.positions = rope.positions;
    }
    args.epilogue = Epilogue::kAttention;
    args.keys = store.keys;
    args.values = store.values;
    args.sequences = store.sequences;
    args.places = store.places;
    return found.commands;
  }

  // One launch for all targets of a format.
  void launch_by_format(const LinearArgs& linear, const MatvecArgs& planned) {
    if (planned.epilogue == Epilogue::kGated) {
      MatvecArgs args = planned;
      args.count = 2;
      return launch_product(args);
    }
    if (planned.epilogue == Epilogue::kAttention && planned.has_norm && is_mix(linear)) {
      MatvecArgs args = planned;
      args.count = linear.count;
      args.dependent = dependent_;
      return launch_mixed(args, stream_->get());
    }
    bool done[LinearArgs::kTargets] = {};
    for (int i = 0; i < linear.count; ++i) {
      if (done[i]) continue;
      MatvecArgs args = planned;
      args.count = 0;
      for (int j = i; j < linear.count; ++j) {
        const WeightRef &a = planned.targets[i].weight, &b = planned.targets[j].weight;
        if (a.format != b.format || a.layout != b.layout) continue;
        done[j] = true;
        args.targets[args.count++] = planned.targets[j];
      }
      launch_product(args);
    }
  }

  // Of targets of one format.
  void launch_product(MatvecArgs& args) {
    args.dependent = dependent_;
    const WeightRef& weight = args.targets[0].weight;
    if (weight.layout != Layout::kPlanes || args.to.codes != nullptr ||
        !has_few_product(weight.format, args.tokens, args.columns))
      return launch(args, stream_->get());
    FewArgs product = plan_few(args);
    if (product.slices > 1) {
      product.partial = static_cast<float*>(few_partial_.get(uint64_t(product.partials) * sizeof(float)));
      product.arrived = zeroed_counters(few_arrived_, product.counters, *stream_);
      if (product.partial == nullptr || product.arrived == nullptr) return;
    }
    launch(product, stream_->get());
  }

  // Many rows that the tensor cores cannot take.
  void wide_linear(const LinearArgs& linear) {
    for (int i = 0; i < linear.count; ++i) {
      Command single(CommandKind::kLinear);
      single.linear = linear;
      single.linear.count = 1;
      single.linear.targets[0] = linear.targets[i];
      if (linear.targets[i].weight.layout == Layout::kBlocks)
        launch_blocks(single.linear, stream_->get());
      else
        few_at_a_time(single.linear);
    }
  }

  // Eight rows at a time.
  void few_at_a_time(const LinearArgs& linear) {
    for (int row = 0; row < linear.rows; row += kMostTokens) {
      Command part(CommandKind::kLinear);
      part.linear = linear;
      part.linear.rows = std::min(kMostTokens, linear.rows - row);
      part.linear.x.data += row * linear.x.stride;
      part.linear.targets[0].out.data += row * linear.targets[0].out.stride;
      this->linear({&part, 1}, nullptr);
    }
  }

  void attention(std::span<const Command> commands) {
    const AttentionArgs& args = commands.front().attention;
    constexpr int64_t kMostRows = 1024;  // above, a block for each query is no worse
    if (!can_split(args) || args.rows > kMostRows) return launch(args, stream_->get());
    SplitAttentionArgs split = {};
    split.attention = args;
    split.partial = static_cast<float*>(partial_.get(split_bytes(args)));
    split.arrived = zeroed_counters(arrived_, split_counters(args), *stream_);
    if (split.partial == nullptr || split.arrived == nullptr) return;
    const int width = args.heads * args.values.width;
    if (commands.size() > 1 && commands[1].kind == CommandKind::kLinear && args.values.width % 32 == 0) {
      const LinearArgs& linear = commands[1].linear;
      const bool fits = same(linear.x, args.out) && linear.rows == args.rows && linear.columns == width &&
                        args.out.head_stride == args.values.width && !is_wide(linear) && is_planes(linear);
      if (fits) split.to = codes_in(next_codes_, args.rows, width);
      if (split.to.codes) ready_ = {linear.x, args.rows, width, split.to};
    }
    if (split.to.codes == nullptr) split.sixteen = wide_.attention_output(commands);
    split.dependent = dependent_;
    launch(split, stream_->get());
  }

  void experts(const ExpertsArgs& args) {
    PlaneExpertsArgs planes = {};
    planes.experts = args;
    if (args.in_planes == 0) return launch_blocks(args, stream_->get());
    const int rows = args.own_rows ? args.pairs : args.pairs / args.used;
    if (quantise(args.x, rows, args.columns, nullptr, planes.x)) launch(planes, stream_->get());
  }

  Stream* stream_ = nullptr;
  Scratch quantised_, next_codes_, partial_, arrived_, few_partial_, few_arrived_, gate_arrived_;
  WideLauncher wide_;
  JoinedCommands joined_;
  // What the kernel before has left in eight bits for the product that comes next.
  struct {
    Rows x;
    int32_t rows, columns;
    Quantised codes;
  } ready_ = {};
  int32_t dependent_ = 0;  // the GPU can start a kernel before the one ahead of it has ended
};

}  // namespace

std::unique_ptr<Launcher> make_fast_launcher(Stream& stream) { return std::make_unique<FastLauncher>(stream); }

}  // namespace metallic::cuda
