#include "backend/cuda/accesses.h"

#include <algorithm>

namespace metallic::cuda {
namespace {

bool overlap(const Region& a, const Region& b) { return a.begin < b.end && b.begin < a.end; }

Region region_of(const Heads& heads, int64_t rows, int64_t count, int64_t width) {
  if (rows * count * width == 0) return {};
  const auto* begin = reinterpret_cast<const char*>(heads.data);
  return {begin, begin + ((rows - 1) * heads.row_stride + (count - 1) * heads.head_stride + width) * 4};
}

// Of any strides: from the lowest to the highest address.
Region region_of(const Strided& view, const int64_t* size, int64_t element_bytes) {
  const char *lowest = view.data, *highest = view.data + element_bytes;
  for (int i = 0; i < 4; ++i) {
    if (size[i] == 0) return {};
    const int64_t reach = (size[i] - 1) * view.stride[i];
    (reach < 0 ? lowest : highest) += reach;
  }
  return {lowest, highest};
}

// What a command does to memory other than weights, tables and pages, which are memory of their own.
class Accesses {
 public:
  explicit Accesses(const Region& region) : region_(region) {}
  // Whether the command reads the region, or writes all of it; if the command is not known, it reads.
  void look_at(const Command& command);
  bool reads() const { return reads_; }
  bool overwrites() const { return overwrites_; }

 private:
  void read(const Region& region) { reads_ = reads_ || overlap(region, region_); }
  void write(const Region& region, bool dense) {
    overwrites_ = overwrites_ || (dense && region.begin <= region_.begin && region.end >= region_.end);
  }
  void write(const Rows& rows, int64_t count, int64_t width) {
    write(cuda::region_of(rows, count, width), rows.stride == width || count <= 1);
  }
  void write(const Heads& heads, int64_t rows, int64_t count, int64_t width) {
    const bool dense = (heads.head_stride == width || count <= 1) && (heads.row_stride == count * width || rows <= 1);
    write(region_of(heads, rows, count, width), dense);
  }
  void look_at_linear(const LinearArgs& a);
  void look_at_binary(const BinaryArgs& a);

  Region region_;
  bool reads_ = false, overwrites_ = false;
};

void Accesses::look_at_linear(const LinearArgs& a) {
  read(cuda::region_of(a.x, a.rows, a.columns));
  for (int i = 0; i < a.count; ++i) {
    const LinearArgs::Target& target = a.targets[i];
    if (target.accumulate) read(cuda::region_of(target.out, a.rows, target.weight.rows));
    write(target.out, a.rows, target.weight.rows);
  }
}

void Accesses::look_at_binary(const BinaryArgs& a) {
  read(region_of(a.a, a.size, 4));
  read(region_of(a.b, a.size, 4));
  int64_t step = 4;
  bool dense = true;
  for (int i = 3; i >= 0; --i) {
    dense = dense && (a.out.stride[i] == step || a.size[i] == 1);
    step *= a.size[i];
  }
  write(region_of(a.out, a.size, 4), dense);
}

void Accesses::look_at(const Command& command) {
  switch (command.kind) {
    case CommandKind::kEmbed:
      return write(command.embed.out, command.embed.count, command.embed.weight.columns);
    case CommandKind::kNorm: {
      const NormArgs& a = command.norm;
      read(region_of(a.x, a.rows, a.heads, a.width));
      return write(a.out, a.rows, a.heads, a.width);
    }
    case CommandKind::kLinear:
      return look_at_linear(command.linear);
    case CommandKind::kRope: {
      const RopeArgs& a = command.rope;
      return read(region_of(a.x, a.rows, a.heads, 2 * int64_t(a.pairs)));
    }
    case CommandKind::kStore: {  // places may name any row
      const StoreArgs& a = command.store;
      if (a.rows == 0) return;
      read({reinterpret_cast<const char*>(a.key.data),
            reinterpret_cast<const char*>(a.key.data + a.rows * a.key.row_stride)});
      return read({reinterpret_cast<const char*>(a.value.data),
                   reinterpret_cast<const char*>(a.value.data + a.rows * a.value.row_stride)});
    }
    case CommandKind::kAttention: {
      const AttentionArgs& a = command.attention;
      read(region_of(a.query, a.rows, a.heads, a.keys.width));
      return write(a.out, a.rows, a.heads, a.values.width);
    }
    case CommandKind::kActivate: {
      const ActivateArgs& a = command.activate;
      read(cuda::region_of(a.x, a.rows, a.width));
      if (a.factor.data != nullptr) read(cuda::region_of(a.factor, a.rows, a.width));
      return write(a.out, a.rows, a.width);
    }
    case CommandKind::kBinary:
      return look_at_binary(command.binary);
    case CommandKind::kScale:
      return read(cuda::region_of(command.scale.x, command.scale.rows, command.scale.width));
    default:
      reads_ = true;
  }
}

}  // namespace

Region region_of(const Rows& rows, int64_t count, int64_t width) {
  if (count * width == 0) return {};
  const auto* begin = reinterpret_cast<const char*>(rows.data);
  return {begin, begin + ((count - 1) * rows.stride + width) * 4};
}

bool may_be_read(const Region& region, std::span<const Command> commands) {
  for (const Command& command : commands) {
    Accesses accesses(region);
    accesses.look_at(command);
    if (accesses.reads()) return true;
    if (accesses.overwrites()) return false;
  }
  return true;
}

}  // namespace metallic::cuda
