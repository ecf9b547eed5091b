#include "backend/cuda/fusions.h"

#include <algorithm>

#include "backend/cuda/fast.h"

namespace metallic::cuda {

bool is_planes(const LinearArgs& linear) {
  return std::all_of(linear.targets, linear.targets + linear.count,
                     [](const LinearArgs::Target& target) { return target.weight.layout == Layout::kPlanes; });
}

bool is_few(const LinearArgs& linear) {
  return is_planes(linear) &&
         std::all_of(linear.targets, linear.targets + linear.count, [&](const LinearArgs::Target& target) {
           return has_few_product(target.weight.format, linear.rows, linear.columns);
         });
}

bool is_gate(const LinearArgs& linear, const Command& next) {
  if (linear.count != 2 || next.kind != CommandKind::kActivate) return false;
  const ActivateArgs& activate = next.activate;
  const LinearArgs::Target &up = linear.targets[0], &gate = linear.targets[1];
  return same(activate.x, gate.out) && same(activate.factor, up.out) && same(activate.out, gate.out) &&
         activate.rows == linear.rows && activate.width == gate.weight.rows && up.weight.rows == gate.weight.rows &&
         !up.accumulate && !gate.accumulate;
}

bool is_residual(const LinearArgs& linear, const Command& next, Rows& residual) {
  if (linear.count != 1 || next.kind != CommandKind::kBinary || next.binary.multiply || linear.targets[0].accumulate)
    return false;
  const BinaryArgs& add = next.binary;
  const LinearArgs::Target& target = linear.targets[0];
  const bool rows_fit =
      add.size[0] == 1 && add.size[1] == 1 && add.size[2] == linear.rows && add.size[3] == target.weight.rows;
  const bool dense = add.a.stride[3] == 4 && add.b.stride[3] == 4 && add.out.stride[3] == 4;
  const bool same_rows = add.b.data == reinterpret_cast<char*>(target.out.data) &&
                         add.b.stride[2] == target.out.stride * 4 && add.a.data == add.out.data &&
                         add.a.stride[2] == add.out.stride[2];
  residual = {reinterpret_cast<float*>(add.out.data), add.out.stride[2] / 4};
  return rows_fit && dense && same_rows && add.out.stride[2] % 4 == 0 && add.out.data != add.b.data;
}

bool is_query_key_value(std::span<const Command> commands, QueryKeyValue& found) {
  const LinearArgs& linear = commands.front().linear;
  if (linear.count != 3) return false;
  found = {};
  size_t at = 1;
  for (int i = 0; i < 2 && at < commands.size() && commands[at].kind == CommandKind::kRope; ++i, ++at)
    found.ropes[i] = &commands[at].rope;
  if ((found.ropes[0] == nullptr) != (found.ropes[1] == nullptr)) return false;
  if (at >= commands.size() || commands[at].kind != CommandKind::kStore) return false;
  const StoreArgs& store = commands[at].store;
  if (store.rows != linear.rows) return false;
  if (store.keys.format == Format::kQ8_0 || store.values.format == Format::kQ8_0) return false;
  found.store = &store;
  found.commands = at;
  const Heads* stored[3] = {nullptr, &store.key, &store.value};
  found.widths[0] = found.ropes[0] ? int(found.ropes[0]->x.head_stride) : store.keys.width;
  found.widths[1] = store.keys.width;
  found.widths[2] = store.values.width;
  for (int i = 0; i < 3; ++i) {
    const LinearArgs::Target& target = linear.targets[i];
    const int width = found.widths[i];
    if (target.accumulate || width <= 0 || target.weight.rows % width != 0) return false;
    if (stored[i] && (!same(target.out, *stored[i]) || stored[i]->head_stride != width ||
                      target.weight.rows != store.kv_heads * width))
      return false;
    if (i == 2 || found.ropes[i] == nullptr) continue;
    const RopeArgs& rope = *found.ropes[i];
    if (!same(target.out, rope.x) || rope.x.head_stride != width || rope.rows != linear.rows ||
        int64_t(rope.heads) * width != target.weight.rows || 2 * rope.pairs > width)
      return false;
  }
  return true;
}

int32_t* zeroed_counters(Scratch& scratch, int64_t count, Stream& stream) {
  const uint64_t bytes = std::max<uint64_t>(uint64_t(count) * sizeof(int32_t), 1 << 16);
  const uint64_t before = scratch.generation();
  auto* memory = static_cast<int32_t*>(scratch.get(bytes));
  if (memory != nullptr && scratch.generation() != before)
    stream.check(cudaMemsetAsync(memory, 0, bytes, stream.get()), "clearing counters");
  return memory;
}

}  // namespace metallic::cuda
