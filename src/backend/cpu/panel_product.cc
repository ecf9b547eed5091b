#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "backend/cpu/cpu.h"
#include "backend/cpu/panel_linear.h"

namespace metallic::cpu {
namespace {

// What a row of codes leaves is much in a group whose squared scale is above so many times the mean of its row's. At 1
// that is 23 % of the groups of SmolLM2 and Qwen2.5, with 78 % of the squared errors; at 2 it is 12 % with 60 %.
constexpr double kMuchError = 1;
constexpr int64_t kInfoAlignment = 16;  // bytes

// Room for the panels of one call of a kernel, kUnpackGroups groups each: codes, scales, offsets.
int64_t code_floats(const PanelKernels& kernels) {
  return kernels.panels * kUnpackGroups * kGroupColumns * kernels.width / int64_t(sizeof(float));
}
int64_t scale_floats(const PanelKernels& kernels) { return kernels.panels * kUnpackGroups * 2 * kernels.width; }

// Pieces of like size: a small one costs each tile of tokens nearly as much as a large one.
int64_t even_chunk(int64_t groups) { return groups == 0 ? 1 : tile_count(groups, tile_count(groups, kUnpackGroups)); }

}  // namespace

PanelProduct::PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups, bool precise)
    : kernels_(kernels),
      form_(!precise                   ? TokenForm::kCodes
            : tokens <= kernels.tokens ? TokenForm::kPairs
                                       : TokenForm::kSeparate),
      levels_(form_ == TokenForm::kPairs ? 2 : 1),
      count_(tokens * levels_),
      groups_(groups),
      chunk_(even_chunk(groups)),
      tile_rows_(kernels.tokens / levels_ * levels_),
      tiles_(tile_count(count_, tile_rows_)) {
  // As many tiles as needed, of like size: a small one costs nearly as much as a full one.
  if (tiles_ > 0) tile_rows_ = round_up(tile_count(count_, tiles_), levels_);
}

int64_t PanelProduct::bytes() const {
  const int64_t rows = count_ * groups_ * (kGroupColumns + int64_t(sizeof(TokenGroup)));
  return form_ == TokenForm::kSeparate ? 2 * rows + round_up(tiles_ * (groups_ + chunks()), kInfoAlignment) : rows;
}

void PanelProduct::set_memory(std::byte* memory) {
  const auto take = [&](int64_t size) { return std::exchange(memory, memory + size); };
  const auto take_rows = [&] {
    auto* codes = reinterpret_cast<int8_t*>(take(count_ * groups_ * kGroupColumns));
    return Rows{codes, reinterpret_cast<TokenGroup*>(take(count_ * groups_ * int64_t(sizeof(TokenGroup))))};
  };
  rows_ = take_rows();
  if (form_ != TokenForm::kSeparate) return;
  remainder_ = take_rows();
  columns_ = reinterpret_cast<uint8_t*>(take(tiles_ * groups_));
  remainder_count_ = reinterpret_cast<uint8_t*>(take(tiles_ * chunks()));
}

int64_t PanelProduct::first_row(int64_t tile) const { return std::min(tile * tile_rows_, count_); }

int64_t PanelProduct::position(int64_t tile, int64_t first_group) const {
  const int64_t first = first_row(tile), rows = first_row(tile + 1) - first;
  return first * groups_ + first_group * rows;
}

TokenTile PanelProduct::tile(int64_t index, int64_t first_group) const {
  const int64_t at = position(index, first_group);
  return {rows_.codes + at * kGroupColumns, rows_.info + at};
}

TokenTile PanelProduct::remainder_tile(int64_t index, int64_t first_group, int64_t& groups) const {
  const int64_t at = position(index, first_group);
  groups = remainder_count_[index * chunks() + first_group / chunk_];
  return {remainder_.codes + at * kGroupColumns, remainder_.info + at, columns_ + index * groups_ + first_group};
}

void PanelProduct::remainder(const float* x, int64_t row, int64_t rows, const Rows& of, float* out,
                             uint8_t* marks) const {
  kernels_.remainder(x, groups_, int(row), int(rows), of.codes, of.info, out);
  double squares = 0;
  for (int64_t g = 0; g < groups_; ++g)
    squares += double(of.info[g * rows + row].scale) * of.info[g * rows + row].scale;
  const double much = kMuchError * squares / double(groups_);
  for (int64_t g = 0; g < groups_; ++g) {
    const double scale = of.info[g * rows + row].scale;
    if (scale * scale > much)
      marks[g] = 1;
    else
      std::fill_n(out + g * kGroupColumns, kGroupColumns, 0.0f);
  }
}

void PanelProduct::quantize_remainder(int64_t tile, const float* rest, const uint8_t* marks) const {
  const int64_t rows = first_row(tile + 1) - first_row(tile);
  for (int64_t begin = 0; begin < groups_; begin += chunk_) {
    const int64_t end = std::min(groups_, begin + chunk_);
    uint8_t* columns = columns_ + tile * groups_ + begin;
    int64_t count = 0;
    for (int64_t g = begin; g < end; ++g) {
      if (!marks[g]) continue;
      const int64_t at = position(tile, begin + count);
      for (int64_t row = 0; row < rows; ++row)
        kernels_.quantize(rest + (row * groups_ + g) * kGroupColumns, 1, int(row), int(rows),
                          remainder_.codes + at * kGroupColumns, remainder_.info + at);
      columns[count++] = uint8_t(g - begin);
    }
    remainder_count_[tile * chunks() + begin / chunk_] = uint8_t(count);
  }
}

void PanelProduct::quantize(const TensorView& x, int64_t index, Scratch& scratch) const {
  const int64_t first = first_row(index), rows = first_row(index + 1) - first, at = first * groups_;
  const Rows to{rows_.codes + at * kGroupColumns, rows_.info + at};
  const bool separate = form_ == TokenForm::kSeparate;
  const int64_t rest_rows = form_ == TokenForm::kCodes ? 0 : separate ? rows : 1;
  float* rest = scratch.floats(rest_rows * groups_ * kGroupColumns + tile_count(groups_, int64_t(sizeof(float))));
  auto* marks = reinterpret_cast<uint8_t*>(rest + rest_rows * groups_ * kGroupColumns);
  std::fill_n(marks, groups_, uint8_t(0));
  for (int64_t row = 0; row < rows; row += levels_) {
    const int64_t at_row = (first + row) / levels_;
    const float* token = float_at(x, in_rows_ != nullptr ? in_rows_[at_row] : at_row);
    kernels_.quantize(token, groups_, int(row), int(rows), to.codes, to.info);
    if (form_ == TokenForm::kCodes) continue;
    float* out = rest + (separate ? row : 0) * groups_ * kGroupColumns;
    remainder(token, row, rows, to, out, marks);
    if (!separate) kernels_.quantize(out, groups_, int(row + 1), int(rows), to.codes, to.info);
  }
  if (separate) quantize_remainder(index, rest, marks);
}

void PanelProduct::unpack(const TargetPanels& panels, int64_t panel, int64_t first_group, int64_t groups,
                          const UnpackedPanel& out) const {
  const TensorView& view = panels.target->weight->view;
  const int64_t row = panel * kernels_.width;
  const auto* rows = static_cast<const uint8_t*>(view.data) + row * view.stride[0];
  panels.format->unpack_rows(rows, view.stride[0], int(std::min<int64_t>(kernels_.width, view.shape[0] - row)),
                             first_group, groups, out);
}

// Groups [first_group, first_group + groups) of some panels, each panel's behind the one's before.
void PanelProduct::unpack_all(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                              int64_t first_group, int64_t groups, const UnpackedPanel& out) const {
  for (int64_t p = 0; p < count; ++p) {
    const int64_t scales = p * groups * panels.format->halves * kernels_.width;
    const UnpackedPanel to{out.codes + p * groups * kGroupColumns * kernels_.width, out.scales + scales,
                           out.offsets + scales};
    if (packed.first == nullptr)
      unpack(panels, first + p, first_group, groups, to);
    else
      panels.format->unpack({packed.first + p * panels.format->chunk_bytes, packed.stride}, first_group, groups, to);
  }
}

void PanelProduct::multiply_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                                   float* sums) const {
  const int64_t stride = count * kernels_.width;
  for (int64_t i = 0; i < tiles_; ++i)
    panels.format->dot[count][first_row(i + 1) - first_row(i)](packed, groups_, tile(i, 0),
                                                               sums + first_row(i) * stride);
  for (int64_t p = 0; p < count; ++p) store(panels, first + p, 0, count_, sums + p * kernels_.width, stride);
}

void PanelProduct::multiply_unpacked(const TargetPanels& panels, const PackedPanels& packed, int64_t first,
                                     int64_t count, float* scratch, float* sums) const {
  const int64_t width = count * kernels_.width;
  const UnpackedPanel memory{reinterpret_cast<uint8_t*>(scratch), scratch + code_floats(kernels_),
                             scratch + code_floats(kernels_) + scale_floats(kernels_)};
  const bool separate = form_ == TokenForm::kSeparate;
  float* rest = sums + count_ * width;  // sums of the second rows
  std::fill_n(sums, (separate ? 2 : 1) * count_ * width, 0.0f);
  const auto& dots = kernels_.dot[panels.format->halves - 1][panels.format->has_offset][count];
  for (int64_t g = 0; g < groups_; g += chunk_) {
    const int64_t groups = std::min(chunk_, groups_ - g);
    unpack_all(panels, packed, first, count, g, groups, memory);
    const bool last = g + groups == groups_;
    for (int64_t i = 0; i < tiles_; ++i) {
      const int64_t begin = first_row(i), end = first_row(i + 1);
      if (last) prefetch_out(panels, first, end, first_row(i + 2));
      dots[end - begin](memory, groups, groups, tile(i, g), sums + begin * width);
      if (separate) {
        int64_t marked = 0;
        const TokenTile second = remainder_tile(i, g, marked);
        if (marked > 0) dots[end - begin](memory, groups, marked, second, rest + begin * width);
      }
      if (!last) continue;
      if (separate)
        for (int64_t at = begin * width; at < end * width; ++at) sums[at] += rest[at];
      for (int64_t p = 0; p < count; ++p) store(panels, first + p, begin, end, sums + p * kernels_.width, width);
    }
  }
}

// The lines of the output that the panels from `first` on will write for some rows of codes.
void PanelProduct::prefetch_out(const TargetPanels& panels, int64_t first, int64_t begin, int64_t end) const {
  constexpr int64_t kLineFloats = 16;
  const int64_t row = first * kernels_.width;
  for (int64_t t = begin / levels_; t < end / levels_; ++t) {
    const float* out = out_at(panels, t) + row;
    for (int64_t i = 0; i < kernels_.panels * kernels_.width; i += kLineFloats) __builtin_prefetch(out + i, 1);
  }
}

// What a panel gives for rows [begin, end) of codes; `sums` holds it for all, `stride` floats apart.
void PanelProduct::store(const TargetPanels& panels, int64_t panel, int64_t begin, int64_t end, float* sums,
                         int64_t stride) const {
  const LinearTarget& target = *panels.target;
  const int64_t row = panel * kernels_.width, rows = std::min<int64_t>(kernels_.width, target.weight->rows() - row);
  sums += begin * stride;
  for (int64_t t = begin / levels_; t < end / levels_; ++t, sums += levels_ * stride) {
    float* out = out_at(panels, t) + row;
    if (levels_ == 2)
      for (int64_t r = 0; r < rows; ++r) sums[r] += sums[stride + r];
    if (target.bias == nullptr && !target.accumulate) {
      for (int64_t r = 0; r < rows; ++r) out[r] = sums[r];
      continue;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const float value = target.bias != nullptr ? sums[r] + target.bias[row + r] : sums[r];
      out[r] = target.accumulate ? out[r] + value : value;
    }
  }
}

void PanelProduct::multiply(const TargetPanels& panels, int64_t first, int64_t count, Scratch& scratch) const {
  const int64_t width = kernels_.width, unpacked = code_floats(kernels_) + 2 * scale_floats(kernels_);
  // Rows that come and go (src/memory/) are packed anew each time: what is packed stays in the cache.
  std::optional<PackedWeight> passing;
  const PackedWeight* weight = panels.packed;
  if (weight == nullptr && panels.format->pack != nullptr)
    weight = &passing.emplace(*panels.format, kernels_.width, kernels_.panels, panels.target->weight->view, nullptr);
  const int64_t bundle = weight != nullptr ? round_up(weight->bundle_bytes(), 64) / int64_t(sizeof(float)) : 0;
  const int64_t levels = form_ == TokenForm::kCodes ? 1 : 2;
  float* memory = scratch.floats(bundle + unpacked + levels * count_ * kernels_.panels * width);
  float* sums = memory + bundle + unpacked;
  PackedPanels packed{nullptr, 0};
  if (weight != nullptr) {
    packed = weight->panels(first, reinterpret_cast<uint8_t*>(memory));
    if (form_ != TokenForm::kSeparate && tiles_ <= panels.format->packed_tiles)
      return multiply_packed(panels, packed, first, count, sums);
  }
  multiply_unpacked(panels, packed, first, count, memory + bundle, sums);
}

}  // namespace metallic::cpu
