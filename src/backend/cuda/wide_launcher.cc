#include "backend/cuda/wide_launcher.h"

#include <algorithm>

#include "backend/cuda/accesses.h"
#include "backend/cuda/fusions.h"

namespace metallic::cuda {
namespace {

bool all_of(const LinearArgs& linear, auto&& holds) {
  return std::all_of(linear.targets, linear.targets + linear.count,
                     [&](const LinearArgs::Target& target) { return holds(target.weight); });
}

// Whether x (rows, columns) is still read once the first command has read it.
bool read_by_others(const Rows& x, int rows, int columns, std::span<const Command> commands) {
  return may_be_read(region_of(x, rows, columns), commands.subspan(std::min<size_t>(1, commands.size())));
}

// Queries, keys and values: what follows them as one launch. How many commands that does; 0 if it is something else.
size_t plan_spread(std::span<const Command> commands, SpreadArgs& spread) {
  QueryKeyValue found;
  if (!is_query_key_value(commands, found)) return 0;
  const LinearArgs& linear = commands.front().linear;
  const StoreArgs& store = *found.store;
  for (int i = 0; i < 3; ++i) {
    const LinearArgs::Target& target = linear.targets[i];
    SpreadArgs::Part& part = spread.parts[i];
    if (found.widths[i] % 2 != 0) return 0;
    part.from = part.out = target.out;
    part.width = target.weight.rows;
    part.head_width = found.widths[i];
    if (i == 2 || found.ropes[i] == nullptr) continue;
    const RopeArgs& rope = *found.ropes[i];
    part.pairs = rope.pairs;
    part.frequencies = rope.frequencies;
    part.magnitude = rope.magnitude;
    part.interleaved = rope.interleaved;
    spread.positions = rope.positions;
  }
  spread.keys = store.keys;
  spread.values = store.values;
  spread.places = store.places;
  spread.rows = linear.rows;
  return found.commands;
}

}  // namespace

WideLauncher::WideLauncher(Stream& stream)
    : stream_(stream),
      gemm_(Gemm::create(stream)),
      x_{Scratch(stream), Scratch(stream)},
      product_(stream),
      partial_(stream),
      arrived_(stream) {
  dependent_ = stream.properties().major >= 9;
  warpgroups_ = has_warpgroups();
}

uint64_t WideLauncher::generation() const {
  return gemm_->generation() + x_[0].generation() + x_[1].generation() + product_.generation() + partial_.generation() +
         arrived_.generation();
}

WideLauncher::Way WideLauncher::way_of(const LinearArgs& linear) const {
  if (linear.rows <= kMostTokens || linear.count == 0 || linear.columns == 0 || is_few(linear)) return Way::kNone;
  for (int i = 0; i < linear.count; ++i)
    if (linear.targets[i].weight.rows == 0) return Way::kNone;
  bool panels = !all_of(linear, [](const WeightRef& weight) { return weight.format == Format::kF32; });
  const bool half = Gemm::wants_half(linear.targets[0].weight);
  for (int i = 0; i < linear.count; ++i) {
    const LinearArgs::Target& target = linear.targets[i];
    Gemm::Product product;
    product.weights = {&target.weight, 1};
    product.out = target.out.data;
    product.stride = target.out.stride;
    panels = panels && target.weight.format != Format::kF32 && Gemm::wants_half(target.weight) == half &&
             gemm_->can_multiply(product) && !(target.bias && target.accumulate);
  }
  const bool planes = all_of(linear, [](const WeightRef& weight) { return weight.layout == Layout::kPlanes; });
  if (planes && (!decodes_first(linear.rows) || !panels)) return Way::kTiles;
  return panels ? Way::kPanels : Way::kNone;
}

size_t WideLauncher::step(std::span<const Command> commands) {
  size_t taken = 0;
  switch (commands.front().kind) {
    case CommandKind::kNorm:
      return norm(commands);
    case CommandKind::kLinear:
      taken = linear(commands);
      break;
    case CommandKind::kAttention:
      return attention(commands);
    default:
      break;
  }
  if (taken == 0) ready_ = {};  // it is for the very next command
  return taken;
}

// x of a product in one of two buffers, for which there is room.
Sixteen WideLauncher::sixteen(int buffer, Way way, int rows, int columns, bool half) {
  const bool tiled = way == Way::kTiles;
  const int tiles = tiled ? token_tiles(rows, warpgroups_) : 0;
  const uint64_t numbers =
      tiled ? uint64_t(chunks_of(columns)) * uint64_t(tiles) * 8 * kChunk : uint64_t(rows) * uint64_t(columns);
  return {x_[buffer].get(numbers * 2), tiles, half};
}

// `norm`, if not null, makes x and has not been launched; `after` begins with the linear command.
bool WideLauncher::prepare(const LinearArgs& linear, Way way, const NormArgs* norm, std::span<const Command> after) {
  const bool half = way == Way::kPanels && Gemm::wants_half(linear.targets[0].weight);
  if (!norm && ready_.data.data && same(ready_.x, linear.x) && ready_.rows == linear.rows &&
      ready_.columns == linear.columns && ready_.way == way && ready_.half == half)
    return true;
  ready_ = {linear.x, linear.rows, linear.columns, way, half, 0, sixteen(0, way, linear.rows, linear.columns, half)};
  if (ready_.data.data == nullptr) return false;
  PrepareArgs args = {};
  args.x = linear.x;
  args.rows = linear.rows;
  args.columns = linear.columns;
  args.to = ready_.data;
  args.dependent = dependent_;
  args.aligned = is_aligned(linear.x);
  if (norm) {
    args.has_norm = 1;
    args.norm = *norm;
    args.write_out = read_by_others(linear.x, linear.rows, linear.columns, after);
    args.aligned = args.aligned && is_aligned({norm->x.data, norm->x.row_stride});
  }
  launch(args, stream_.get());
  return true;
}

size_t WideLauncher::norm(std::span<const Command> commands) {
  ready_ = {};
  if (commands.size() < 2 || commands[1].kind != CommandKind::kLinear) return 0;
  const NormArgs& norm = commands.front().norm;
  const LinearArgs& linear = commands[1].linear;
  const Way way = way_of(linear);
  const bool fits = norm.heads == 1 && same(linear.x, norm.out) && linear.rows == norm.rows &&
                    linear.columns == norm.width && norm.width % 8 == 0 && norm.width <= kWidestNorm;
  if (way == Way::kNone || !fits || !prepare(linear, way, &norm, commands.subspan(1))) return 0;
  return 1 + this->linear(commands.subspan(1));
}

size_t WideLauncher::linear(std::span<const Command> commands) {
  const LinearArgs& linear = commands.front().linear;
  const Way way = way_of(linear);
  if (way == Way::kNone) return apart(linear) ? 1 : 0;
  launching_ = &linear;
  if (!prepare(linear, way, nullptr, commands)) return 0;
  for (const auto fused : {&WideLauncher::gate, &WideLauncher::query_key_value, &WideLauncher::residual})
    if (const size_t taken = (this->*fused)(commands, way); taken > 0) return taken;
  const bool done = plain(linear, way);
  ready_ = {};
  return done ? 1 : 0;
}

// Targets that do not go one way, one after the other.
bool WideLauncher::apart(const LinearArgs& linear) {
  LinearArgs singles[LinearArgs::kTargets];
  for (int i = 0; i < linear.count; ++i) {
    singles[i] = linear;
    singles[i].count = 1;
    singles[i].targets[0] = linear.targets[i];
    if (way_of(singles[i]) == Way::kNone) return false;
  }
  for (int i = 0; i < linear.count; ++i) {
    ready_ = {};
    if (!prepare(singles[i], way_of(singles[i]), nullptr, {}) || !plain(singles[i], way_of(singles[i]))) return i > 0;
  }
  ready_ = {};
  return true;
}

// The gate of a feed-forward network, its result in 16 bits for the product behind it.
size_t WideLauncher::gate(std::span<const Command> commands, Way way) {
  const LinearArgs& linear = commands.front().linear;
  if (commands.size() < 2 || !is_gate(linear, commands[1])) return 0;
  const LinearArgs::Target &up = linear.targets[0], &gate = linear.targets[1];
  const ActivateArgs& activate = commands[1].activate;
  const int width = gate.weight.rows;
  if (way == Way::kTiles && up.weight.format != gate.weight.format) return 0;
  if (way == Way::kPanels && width % 8 != 0) return 0;
  const auto after = commands.subspan(2);
  const bool up_read = may_be_read(region_of(up.out, linear.rows, width), after);
  bool out_read = true;
  Sixteen next = {};
  bool half = false;
  const int buffer = 1 - ready_.buffer;
  if (!after.empty() && after[0].kind == CommandKind::kLinear && same(after[0].linear.x, gate.out) &&
      after[0].linear.rows == linear.rows && after[0].linear.columns == width && way_of(after[0].linear) == way) {
    half = way == Way::kPanels && Gemm::wants_half(after[0].linear.targets[0].weight);
    next = sixteen(buffer, way, linear.rows, width, half);
    if (next.data) out_read = read_by_others(gate.out, linear.rows, width, after);
  }
  if (way == Way::kTiles) {
    TileProductArgs args = {};
    args.count = 2;
    args.gated = 1;
    args.activation = activate.activation;
    args.clamp = activate.clamp;
    args.to = next;
    args.tiles = int(chunks_of(width)) * 2;
    for (int i = 0; i < 2; ++i) {
      const LinearArgs::Target& from = i == 0 ? gate : up;
      args.targets[i].weight = from.weight;
      args.targets[i].bias = from.bias;
      if (i == 0 ? out_read : up_read) args.targets[i].out = from.out;
    }
    if (!tiles(args, linear)) return 0;
  } else {
    const WeightRef weights[] = {up.weight, gate.weight};
    const bool floats = Gemm::wants_half(gate.weight);
    const uint64_t bytes = uint64_t(linear.rows) * 2 * uint64_t(width) * (floats ? 4 : 2);
    void* product = product_.get(bytes);
    if (product == nullptr) return 0;
    multiply({weights, linear.rows, ready_.data.data, product, 2 * int64_t(width), !floats, false});
    GateArgs args = {};
    args.product = product;
    args.stride = 2 * int64_t(width);
    args.in_floats = floats;
    args.rows = linear.rows;
    args.width = width;
    args.activation = activate.activation;
    args.clamp = activate.clamp;
    args.up_bias = up.bias;
    args.gate_bias = gate.bias;
    if (up_read) args.up = up.out;
    if (out_read) args.out = gate.out;
    args.to = next;
    launch(args, stream_.get());
  }
  ready_ = {};
  if (next.data) ready_ = {gate.out, linear.rows, width, way, half, buffer, next};
  return 2;
}

size_t WideLauncher::query_key_value(std::span<const Command> commands, Way way) {
  const LinearArgs& linear = commands.front().linear;
  SpreadArgs spread = {};
  const size_t fused = plan_spread(commands, spread);
  if (fused == 0) return 0;
  if (way == Way::kTiles) {
    if (!tiles_by_format(linear)) return 0;
  } else {
    WeightRef weights[3];
    int64_t width = 0;
    const auto after = commands.subspan(1 + fused);
    for (int i = 0; i < 3; ++i) {
      const LinearArgs::Target& target = linear.targets[i];
      if (target.weight.rows % 8 != 0) return 0;
      weights[i] = target.weight;
      spread.parts[i].bias = target.bias;
      if (!may_be_read(region_of(target.out, linear.rows, target.weight.rows), after)) spread.parts[i].out = {};
      width += target.weight.rows;
    }
    auto* product = static_cast<float*>(product_.get(uint64_t(linear.rows) * uint64_t(width) * sizeof(float)));
    if (product == nullptr) return 0;
    int64_t first = 0;
    for (SpreadArgs::Part& part : spread.parts) {
      part.from = {product + first, width};
      first += part.width;
    }
    multiply({weights, linear.rows, ready_.data.data, product, width, false, false});
  }
  ready_ = {};
  spread.dependent = dependent_;
  launch(spread, stream_.get());
  return 1 + fused;
}

size_t WideLauncher::residual(std::span<const Command> commands, Way way) {
  const LinearArgs& linear = commands.front().linear;
  Rows residual = {};
  if (commands.size() < 2 || !is_residual(linear, commands[1], residual)) return 0;
  const LinearArgs::Target& target = linear.targets[0];
  const bool out_read = may_be_read(region_of(target.out, linear.rows, target.weight.rows), commands.subspan(2));
  if (way == Way::kTiles) {
    TileProductArgs args = {};
    args.count = 1;
    args.tiles = int((target.weight.rows + kTileRows - 1) / kTileRows);
    args.targets[0].weight = target.weight;
    args.targets[0].bias = target.bias;
    if (out_read) args.targets[0].out = target.out;
    args.targets[0].residual = residual.data;
    args.targets[0].residual_stride = residual.stride;
    if (!tiles(args, linear)) return 0;
  } else {
    const Gemm::Product product{
        {&target.weight, 1}, linear.rows, ready_.data.data, residual.data, residual.stride, false, true};
    if (out_read || !gemm_->can_multiply(product)) return 0;
    multiply(product);
    if (target.bias) launch_add_bias(residual, linear.rows, target.weight.rows, target.bias, stream_.get());
  }
  ready_ = {};
  return 2;
}

bool WideLauncher::plain(const LinearArgs& linear, Way way) {
  if (way == Way::kTiles) return tiles_by_format(linear);
  for (int i = 0; i < linear.count; ++i) {
    const LinearArgs::Target& target = linear.targets[i];
    multiply({{&target.weight, 1},
              linear.rows,
              ready_.data.data,
              target.out.data,
              target.out.stride,
              false,
              target.accumulate != 0});
    if (target.bias) launch_add_bias(target.out, linear.rows, target.weight.rows, target.bias, stream_.get());
  }
  return true;
}

// A launch for all targets of a format.
bool WideLauncher::tiles_by_format(const LinearArgs& linear) {
  bool done[LinearArgs::kTargets] = {};
  for (int i = 0; i < linear.count; ++i) {
    if (done[i]) continue;
    TileProductArgs args = {};
    for (int j = i; j < linear.count; ++j) {
      const LinearArgs::Target& from = linear.targets[j];
      if (from.weight.format != linear.targets[i].weight.format) continue;
      done[j] = true;
      TileProductArgs::Target& to = args.targets[args.count++];
      to.weight = from.weight;
      to.bias = from.bias;
      to.out = from.out;
      to.accumulate = from.accumulate;
      to.first_tile = args.tiles;
      args.tiles += int((from.weight.rows + kTileRows - 1) / kTileRows);
    }
    if (!tiles(args, linear)) return i > 0;
  }
  return true;
}

// Fills in what all products of tiles have, and launches.
bool WideLauncher::tiles(TileProductArgs& args, const LinearArgs& linear) {
  args.x = ready_.data.data;
  args.token_tiles = ready_.data.token_tiles;
  args.tokens = linear.rows;
  args.columns = linear.columns;
  args.warpgroups = warpgroups_;
  args.partial = static_cast<float*>(partial_.get(uint64_t(tile_partials(args)) * sizeof(float)));
  args.arrived = zeroed_counters(arrived_, tile_counters(args), stream_);
  if (args.partial == nullptr || args.arrived == nullptr) return false;
  args.dependent = dependent_;
  launch(args, stream_.get());
  return true;
}

void WideLauncher::multiply(Gemm::Product product) {
  if (product.weights.front().layout == Layout::kSlices) {
    collect_parts(*launching_, product.weights, parts_);
    product.weights = parts_.weights;
    product.reach = [this](size_t part) { points_->pass(parts_.reached[part]); };
  }
  if (!gemm_->multiply(product)) stream_.check(cudaErrorUnknown, "multiplying with cuBLASLt");
}

// Room for the result of the attention in front in 16 bits, if the product behind it wants it.
Sixteen WideLauncher::attention_output(std::span<const Command> commands) {
  ready_ = {};
  const AttentionArgs& args = commands.front().attention;
  const int width = args.heads * args.values.width;
  if (commands.size() < 2 || commands[1].kind != CommandKind::kLinear || args.values.width % 32 != 0) return {};
  const LinearArgs& linear = commands[1].linear;
  const Way way = way_of(linear);
  const bool whole = way == Way::kPanels || (way == Way::kTiles && width % kChunk == 0);  // nothing to pad
  if (!whole || !same(linear.x, args.out) || linear.rows != args.rows || linear.columns != width ||
      args.out.head_stride != args.values.width)
    return {};
  const bool half = way == Way::kPanels && Gemm::wants_half(linear.targets[0].weight);
  const Sixteen to = sixteen(0, way, linear.rows, width, half);
  if (to.data) ready_ = {linear.x, linear.rows, width, way, half, 0, to};
  return to;
}

size_t WideLauncher::attention(std::span<const Command> commands) {
  ready_ = {};
  const AttentionArgs& args = commands.front().attention;
  constexpr int kFewRows = 8;  // of a sequence: up to so many, other kernels are faster
  // A block of warpgroups has a multiprocessor for itself; of blocks of warps, which have 64 rows, several share one.
  constexpr int kBlockRows = 64, kMultiprocessors = 132;
  const bool by_warps = can_flash(args);
  const bool few_blocks = args.most_rows > kBlockRows || args.sequence_count * args.heads <= kMultiprocessors;
  const bool by_warpgroups = warpgroups_ && can_flash_by_warpgroups(args) && (few_blocks || !by_warps);
  if (args.most_rows <= kFewRows || !(by_warps || by_warpgroups)) return 0;
  FlashArgs flash = {};
  flash.attention = args;
  flash.to = attention_output(commands);
  const int width = args.heads * args.values.width;
  if (flash.to.data && !read_by_others(ready_.x, args.rows, width, commands.subspan(1)))
    flash.attention.out.data = nullptr;
  if (by_warpgroups && launch_by_warpgroups(flash, stream_.get())) return 1;
  if (!by_warps) {
    ready_ = {};
    return 0;
  }
  launch(flash, stream_.get());
  return 1;
}

}  // namespace metallic::cuda
