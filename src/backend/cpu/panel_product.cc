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
constexpr int64_t kBlockRows = 192;     // of tokens whose second codes are gathered

// Room for the panels of one call of a kernel, kUnpackGroups groups each: codes, scales, offsets.
int64_t code_floats(const PanelKernels& kernels) {
  return kernels.panels * kUnpackGroups * kGroupColumns * kernels.width / int64_t(sizeof(float));
}
int64_t scale_floats(const PanelKernels& kernels) { return kernels.panels * kUnpackGroups * 2 * kernels.width; }

// Pieces of like size: a small one costs each tile of tokens nearly as much as a large one.
int64_t even_chunk(int64_t groups, int64_t most) {
  return groups == 0 ? 1 : tile_count(groups, tile_count(groups, most));
}

}  // namespace

PanelProduct::PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups, bool precise)
    : kernels_(kernels),
      form_(!precise                         ? TokenForm::kCodes
            : tokens <= kernels.tiles.tokens ? TokenForm::kPairs
                                             : TokenForm::kSeparate),
      levels_(form_ == TokenForm::kPairs ? 2 : 1),
      count_(tokens * levels_),
      groups_(groups),
      chunk_(even_chunk(groups, kernels.tiles.unpack_groups)),
      tile_rows_(kernels.tiles.tokens / levels_ * levels_),
      tiles_(tile_count(count_, tile_rows_)) {
  // As many tiles as needed, of like size: a small one costs nearly as much as a full one.
  if (tiles_ > 0) tile_rows_ = round_up(tile_count(count_, tiles_), levels_);
  block_tiles_ = std::max<int64_t>(1, kBlockRows / std::max<int64_t>(1, tile_rows_));
}

int64_t PanelProduct::bytes() const {
  const int64_t rows = count_ * groups_ * (kGroupColumns + int64_t(sizeof(TokenGroup)));
  if (form_ != TokenForm::kSeparate) return rows;
  const int64_t lists = (count_ + blocks()) * groups_ * int64_t(sizeof(int32_t));
  return 2 * rows + round_up(lists + count_ * groups_, kInfoAlignment);
}

void PanelProduct::set_memory(std::byte* memory) {
  const auto take = [&](int64_t size) { return std::exchange(memory, memory + size); };
  const auto take_rows = [&] {
    auto* codes = reinterpret_cast<int8_t*>(take(count_ * groups_ * kGroupColumns));
    return Rows{codes, reinterpret_cast<TokenGroup*>(take(count_ * groups_ * int64_t(sizeof(TokenGroup))))};
  };
  rows_ = take_rows();
  if (form_ != TokenForm::kSeparate) return;
  seconds_.rows = take_rows();
  seconds_.tokens = reinterpret_cast<int32_t*>(take(count_ * groups_ * int64_t(sizeof(int32_t))));
  seconds_.counts = reinterpret_cast<int32_t*>(take(blocks() * groups_ * int64_t(sizeof(int32_t))));
  seconds_.marks = reinterpret_cast<uint8_t*>(take(count_ * groups_));
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

void PanelProduct::mark(int64_t row, int64_t rows, const Rows& of, uint8_t* marks) const {
  double squares = 0;
  for (int64_t g = 0; g < groups_; ++g)
    squares += double(of.info[g * rows + row].scale) * of.info[g * rows + row].scale;
  const double much = kMuchError * squares / double(groups_);
  for (int64_t g = 0; g < groups_; ++g) {
    const double scale = of.info[g * rows + row].scale;
    marks[g] = scale * scale > much;
  }
}

void PanelProduct::remainder(const float* x, int64_t group, int64_t row, int64_t rows, const Rows& of,
                             float* out) const {
  const int64_t at = group * rows + row;
  kernels_.remainder(x + group * kGroupColumns, of.codes + at * kGroupColumns, of.info[at], out);
}

int64_t PanelProduct::second_position(int64_t block, int64_t group) const {
  const int64_t first = first_of_block(block);
  return first * groups_ + group * (first_of_block(block + 1) - first);
}

void PanelProduct::quantize_second(const float* x, int64_t tile, int64_t row, int64_t rows, const Rows& of,
                                   const uint8_t* marks) const {
  const int64_t block = tile / block_tiles_;
  float rest[kGroupColumns];
  for (int64_t g = 0; g < groups_; ++g) {
    if (!marks[g]) continue;
    remainder(x, g, row, rows, of, rest);
    const int64_t at = second_position(block, g) + first_row(tile) + row - first_of_block(block);
    kernels_.quantize(rest, 1, 0, 1, seconds_.rows.codes + at * kGroupColumns, seconds_.rows.info + at);
  }
}

void PanelProduct::quantize_pair(const float* x, int64_t row, int64_t rows, const Rows& of, Scratch& scratch) const {
  float* rest = scratch.floats(groups_ * kGroupColumns + tile_count(groups_, int64_t(sizeof(float))));
  auto* marks = reinterpret_cast<uint8_t*>(rest + groups_ * kGroupColumns);
  mark(row, rows, of, marks);
  for (int64_t g = 0; g < groups_; ++g) {
    float* out = rest + g * kGroupColumns;
    if (marks[g])
      remainder(x, g, row, rows, of, out);
    else
      std::fill_n(out, kGroupColumns, 0.0f);
  }
  kernels_.quantize(rest, groups_, int(row + 1), int(rows), of.codes, of.info);
}

void PanelProduct::gather(int64_t part) const {
  const int64_t block = part / chunks(), first = first_of_block(block), rows = first_of_block(block + 1) - first;
  const int64_t begin = part % chunks() * chunk_, end = std::min(groups_, begin + chunk_);
  for (int64_t g = begin; g < end; ++g) {
    const int64_t position = second_position(block, g);
    int8_t* codes = seconds_.rows.codes + position * kGroupColumns;
    TokenGroup* info = seconds_.rows.info + position;
    int32_t count = 0;
    for (int64_t row = 0; row < rows; ++row) {
      if (!seconds_.marks[(first + row) * groups_ + g]) continue;
      std::memmove(codes + count * kGroupColumns, codes + row * kGroupColumns, kGroupColumns);
      info[count] = info[row];
      seconds_.tokens[position + count++] = int32_t(first + row);
    }
    seconds_.counts[block * groups_ + g] = count;
  }
}

void PanelProduct::quantize(const TensorView& x, int64_t index, Scratch& scratch) const {
  const int64_t first = first_row(index), rows = first_row(index + 1) - first, at = first * groups_;
  const Rows to{rows_.codes + at * kGroupColumns, rows_.info + at};
  for (int64_t row = 0; row < rows; row += levels_) {
    const int64_t at_row = (first + row) / levels_;
    const float* token = float_at(x, in_rows_ != nullptr ? in_rows_[at_row] : at_row);
    kernels_.quantize(token, groups_, int(row), int(rows), to.codes, to.info);
    if (form_ == TokenForm::kPairs) quantize_pair(token, row, rows, to, scratch);
    if (form_ != TokenForm::kSeparate) continue;
    uint8_t* marks = seconds_.marks + (first + row) * groups_;
    mark(row, rows, to, marks);
    quantize_second(token, index, row, rows, to, marks);
  }
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
  store(panels, first, count, 0, count_, sums, levels_ == 2 ? sums + stride : nullptr);
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
      if (separate && i % block_tiles_ == 0)
        multiply_seconds(i / block_tiles_, memory, dots, *panels.format, g, groups, rest);
      const int64_t begin = first_row(i), end = first_row(i + 1);
      if (last) prefetch_out(panels, first, end, first_row(i + 2));
      dots[end - begin](memory, groups, groups, tile(i, g), sums + begin * width);
      if (!last) continue;
      const float* seconds = separate ? rest : levels_ == 2 ? sums + width : nullptr;
      store(panels, first, count, begin, end, sums, seconds);
    }
  }
}

void PanelProduct::multiply_seconds(int64_t block, const UnpackedPanel& panels, const DotUnpacked* dots,
                                    const PanelFormat& format, int64_t first_group, int64_t groups, float* rest) const {
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t scales = g * format.halves * kernels_.width;
    const UnpackedPanel group{panels.codes + g * kGroupColumns * kernels_.width, panels.scales + scales,
                              panels.offsets + scales};
    const int64_t first = second_position(block, first_group + g);
    const int64_t count = seconds_.counts[block * groups_ + first_group + g];
    const int64_t tiles = tile_count(count, int64_t(kernels_.tiles.tokens));
    for (int64_t i = 0; i < tiles; ++i) {  // of like size
      const int64_t begin = count * i / tiles, at = first + begin;
      dots[count * (i + 1) / tiles - begin](
          group, groups, 1, {seconds_.rows.codes + at * kGroupColumns, seconds_.rows.info + at, seconds_.tokens + at},
          rest);
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

// What `count` panels from `first` on give for rows [begin, end) of codes. `sums` and `seconds` hold it for all.
void PanelProduct::store(const TargetPanels& panels, int64_t first, int64_t count, int64_t begin, int64_t end,
                         const float* sums, const float* seconds) const {
  const LinearTarget& target = *panels.target;
  const int64_t row = first * kernels_.width, width = count * kernels_.width, token = begin / levels_;
  TensorView to = target.out;
  to.data = static_cast<float*>(to.data) + row;
  kernels_.store({.sums = sums + begin * width,
                  .seconds = seconds != nullptr ? seconds + begin * width : nullptr,
                  .stride = levels_ * width,
                  .tokens = (end - begin) / levels_,
                  .rows = std::min(width, target.weight->rows() - row),
                  .bias = target.bias != nullptr ? target.bias + row : nullptr,
                  .accumulate = target.accumulate,
                  .out = float_at(to, out_rows_ != nullptr ? 0 : token),
                  .out_stride = to.stride[0] / int64_t(sizeof(float)),
                  .out_rows = out_rows_ != nullptr ? out_rows_ + token : nullptr});
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
    if (form_ != TokenForm::kSeparate && tiles_ <= kernels_.tiles.packed_tiles[panels.format->whole_codes])
      return multiply_packed(panels, packed, first, count, sums);
  }
  multiply_unpacked(panels, packed, first, count, memory + bundle, sums);
}

}  // namespace metallic::cpu
