#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "backend/cpu/cpu.h"
#include "backend/cpu/panel_linear.h"

namespace metallic::cpu {
namespace {

// A group stands out if its squared scale is above the mean of its row's squares and so many times the square of their
// mean. Of normally distributed numbers none does.
constexpr double kStandsOut = 6;
constexpr int64_t kInfoAlignment = 16;  // bytes
constexpr int64_t kBlockRows = 576;     // of tokens whose second codes are gathered, at most
// Bundles of packed panels that are multiplied with all tokens before their second codes are, for which they are
// needed again: not so many that they leave the cache.
constexpr int64_t kRun = 8;

// Room for the panels of one call of a kernel, kUnpackGroups groups each: codes, scales, offsets.
int64_t code_floats(const PanelKernels& kernels) {
  return kernels.panels * kUnpackGroups * kGroupColumns * kernels.width / int64_t(sizeof(float));
}
int64_t scale_floats(const PanelKernels& kernels) { return kernels.panels * kUnpackGroups * 2 * kernels.width; }
int64_t multiple_floats(const PanelKernels& kernels) {
  return kernels.tiles.multiples ? kernels.panels * kUnpackGroups * kScaleSteps * kernels.width : 0;
}

// Pieces of like size: a small one costs each tile of tokens nearly as much as a large one.
int64_t even_chunk(int64_t count, int64_t most) { return count == 0 ? 1 : tile_count(count, tile_count(count, most)); }

}  // namespace

PanelProduct::PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups)
    : kernels_(kernels),
      count_(tokens),
      groups_(groups),
      chunk_(even_chunk(groups, kernels.tiles.unpack_groups)),
      tile_rows_(kernels.tiles.tokens),
      tiles_(tile_count(count_, tile_rows_)) {
  // As many tiles as needed, of like size: a small one costs nearly as much as a full one.
  if (tiles_ > 0) tile_rows_ = tile_count(count_, tiles_);
  block_tiles_ = even_chunk(tiles_, std::max<int64_t>(1, kBlockRows / std::max<int64_t>(1, tile_rows_)));
}

int64_t PanelProduct::bytes() const {
  const int64_t rows = count_ * groups_ * (kGroupColumns + int64_t(sizeof(TokenGroup)));
  const int64_t lists = ((count_ + 2 * blocks()) * groups_ + blocks() * chunks()) * int64_t(sizeof(int32_t));
  return 2 * rows + round_up(lists + count_ * groups_, kInfoAlignment);
}

void PanelProduct::set_memory(std::byte* memory) {
  const auto take = [&](int64_t size) { return std::exchange(memory, memory + size); };
  const auto take_rows = [&] {
    auto* codes = reinterpret_cast<int8_t*>(take(count_ * groups_ * kGroupColumns));
    return Rows{codes, reinterpret_cast<TokenGroup*>(take(count_ * groups_ * int64_t(sizeof(TokenGroup))))};
  };
  const auto take_list = [&](int64_t count) {
    return reinterpret_cast<int32_t*>(take(count * int64_t(sizeof(int32_t))));
  };
  rows_ = take_rows();
  seconds_.rows = take_rows();
  seconds_.tokens = take_list(count_ * groups_);
  seconds_.counts = take_list(blocks() * groups_);
  seconds_.groups = take_list(blocks() * groups_);
  seconds_.listed = take_list(blocks() * chunks());
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
  double sum = 0, squares = 0;
  for (int64_t g = 0; g < groups_; ++g) {
    const double scale = of.info[g * rows + row].scale;
    sum += scale;
    squares += scale * scale;
  }
  const double mean = sum / double(groups_);
  const double much = std::max(squares / double(groups_), kStandsOut * mean * mean);
  for (int64_t g = 0; g < groups_; ++g) {
    const double scale = of.info[g * rows + row].scale;
    marks[g] = scale * scale > much;
  }
}

int64_t PanelProduct::second_position(int64_t block, int64_t group) const {
  const int64_t first = first_of_block(block);
  return first * groups_ + group * (first_of_block(block + 1) - first);
}

std::span<const int32_t> PanelProduct::second_groups(int64_t block, int64_t chunk) const {
  return {seconds_.groups + block * groups_ + chunk * chunk_, size_t(seconds_.listed[block * chunks() + chunk])};
}

bool PanelProduct::has_seconds(int64_t block) const {
  const int32_t* listed = seconds_.listed + block * chunks();
  return std::any_of(listed, listed + chunks(), [](int32_t count) { return count > 0; });
}

void PanelProduct::quantize_second(const float* x, int64_t tile, int64_t row, int64_t rows, const Rows& of,
                                   const uint8_t* marks) const {
  const int64_t block = tile / block_tiles_;
  float rest[kGroupColumns];
  for (int64_t g = 0; g < groups_; ++g) {
    if (!marks[g]) continue;
    const int64_t from = g * rows + row;
    kernels_.remainder(x + g * kGroupColumns, of.codes + from * kGroupColumns, of.info[from], rest);
    const int64_t to = second_position(block, g) + first_row(tile) + row - first_of_block(block);
    kernels_.quantize(rest, 1, 0, 1, seconds_.rows.codes + to * kGroupColumns, seconds_.rows.info + to);
  }
}

// Token by token, so that the marks are read in order.
void PanelProduct::gather(int64_t part) const {
  const int64_t block = part / chunks(), chunk = part % chunks();
  const int64_t first = first_of_block(block), rows = first_of_block(block + 1) - first;
  const int64_t begin = chunk * chunk_, end = std::min(groups_, begin + chunk_);
  int32_t* counts = seconds_.counts + block * groups_;
  std::fill(counts + begin, counts + end, 0);
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t* marks = seconds_.marks + (first + row) * groups_;
    for (int64_t g = begin; g < end; ++g) {
      if (!marks[g]) continue;
      const int64_t position = second_position(block, g), from = position + row, to = position + counts[g]++;
      std::memmove(seconds_.rows.codes + to * kGroupColumns, seconds_.rows.codes + from * kGroupColumns, kGroupColumns);
      seconds_.rows.info[to] = seconds_.rows.info[from];
      seconds_.tokens[to] = int32_t(first + row);
    }
  }
  int32_t* listed = seconds_.groups + block * groups_ + begin;
  for (int64_t g = begin; g < end; ++g)
    if (counts[g] > 0) *listed++ = int32_t(g);
  seconds_.listed[block * chunks() + chunk] = int32_t(listed - (seconds_.groups + block * groups_ + begin));
}

void PanelProduct::quantize(const TensorView& x, int64_t index) const {
  const int64_t first = first_row(index), rows = first_row(index + 1) - first, at = first * groups_;
  const Rows to{rows_.codes + at * kGroupColumns, rows_.info + at};
  for (int64_t row = 0; row < rows; ++row) {
    const float* token = float_at(x, in_rows_ != nullptr ? in_rows_[first + row] : first + row);
    kernels_.quantize(token, groups_, int(row), int(rows), to.codes, to.info);
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

void PanelProduct::clear_seconds(float* rest, int64_t width) const {
  for (int64_t block = 0; block < blocks(); ++block)
    if (has_seconds(block))
      std::fill(rest + first_of_block(block) * width, rest + first_of_block(block + 1) * width, 0.0f);
}

// Groups [first_group, first_group + groups) of some panels, each panel's behind the one's before.
void PanelProduct::unpack_all(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                              int64_t first_group, int64_t groups, const UnpackedPanel& out) const {
  for (int64_t p = 0; p < count; ++p) {
    const UnpackedPanel to = out.further(p * groups, panels.format->halves, kernels_.width);
    if (packed.first == nullptr)
      unpack(panels, first + p, first_group, groups, to);
    else
      panels.format->unpack({packed.first + p * panels.format->chunk_bytes, packed.stride}, first_group, groups, to);
  }
}

bool PanelProduct::multiplies_both(const PanelFormat& format) const {
  return count_ == 1 && kernels_.tiles.in_order && format.dot_with_seconds[1] != nullptr && has_seconds(0);
}

void PanelProduct::multiply_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t count,
                                   const PanelOutput& out) const {
  if (multiplies_both(*panels.format)) {
    TokenTile both = tile(0, 0);
    both.seconds = {chunks(), chunk_, seconds_.listed, seconds_.groups, seconds_.rows.codes, seconds_.rows.info};
    return panels.format->dot_with_seconds[count](packed, groups_, both, out);
  }
  for (int64_t i = 0; i < tiles_; ++i) {
    const int64_t tokens = first_row(i + 1) - first_row(i);
    PanelOutput to = out;
    to.rows += first_row(i) * out.stride;
    panels.format->packed_dot(kernels_.tiles.in_order, count, tokens)(packed, groups_, tile(i, 0), to);
  }
}

PanelOutput PanelProduct::output(const TargetPanels& panels, int64_t first, int64_t token_row) const {
  const LinearTarget& target = *panels.target;
  const int64_t row = first * kernels_.width;
  return {.rows = float_at(target.out, token_row) + row,
          .stride = target.out.stride[0] / int64_t(sizeof(float)),
          .bias = target.bias != nullptr ? target.bias + row : nullptr,
          .accumulate = target.accumulate};
}

// One bundle after the other, or the processor's prefetching would have to run ahead again after each.
int64_t PanelProduct::multiply_in_place(const TargetPanels& panels, int64_t first, int64_t count) const {
  const int64_t whole = std::min(count, panels.target->weight->rows() / kernels_.width - first) / kernels_.panels;
  const bool one_by_one = has_seconds(0) && !multiplies_both(*panels.format);
  if (tiles_ != 1 || !panels.packed->in_place() || one_by_one || (count_ > 1 && out_rows_ != nullptr) || whole <= 0)
    return 0;
  PackedPanels packed = panels.packed->panels(first, nullptr);
  packed.bundles = whole;
  multiply_packed(panels, packed, kernels_.panels, output(panels, first, out_row(0)));
  return whole * kernels_.panels;
}

void PanelProduct::finish_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                                 const UnpackedPanel& memory, const float* sums, float* seconds) const {
  const int64_t width = count * kernels_.width, stride = packed.bundles * width;
  const bool done = multiplies_both(*panels.format);
  const UnpackedDots& dots = kernels_.unpacked_dots(*panels.format, false);
  PackedPanels bundle = packed;
  for (int64_t i = 0; i < packed.bundles; ++i) {
    if (!done) clear_seconds(seconds, width);
    for (int64_t block = 0; block < blocks(); ++block) {
      for (int64_t chunk = 0; chunk < chunks() && !done; ++chunk)
        for (const int32_t& group : second_groups(block, chunk)) {
          unpack_all(panels, bundle, first, count, group, 1, memory);
          multiply_seconds(block, {&group, 1}, memory, group, 1, dots.listed[count], seconds);
        }
      store(panels, first, count, first_of_block(block), first_of_block(block + 1), {sums, stride},
            !done && has_seconds(block) ? seconds : nullptr);
    }
    bundle.first += count * panels.format->panel_bytes(groups_);
    first += count;
    sums += width;
  }
}

bool PanelProduct::goes_directly(const TargetPanels& panels, int64_t first, int64_t count) const {
  return out_rows_ == nullptr && (first + count) * kernels_.width <= panels.target->weight->rows();
}

void PanelProduct::multiply_unpacked(const TargetPanels& panels, const PackedPanels& packed, int64_t first,
                                     int64_t count, const UnpackedPanel& memory, float* sums, float* seconds) const {
  const int64_t width = count * kernels_.width;
  clear_seconds(seconds, width);
  const bool direct = goes_directly(panels, first, count);
  const bool multiples = kernels_.tiles.multiples && kernels_.has_multiples(*panels.format);
  const UnpackedDots& dots = kernels_.unpacked_dots(*panels.format, multiples);
  // Only the address changes from tile to tile: what is written in parts and then copied as a whole waits until all
  // results before it are written.
  PanelOutput out = output(panels, first, 0);
  float* const rows = out.rows;
  for (int64_t g = 0; g < groups_; g += chunk_) {
    const int64_t groups = std::min(chunk_, groups_ - g);
    unpack_all(panels, packed, first, count, g, groups, memory);
    if (multiples) kernels_.multiply_scales(memory.scales, count * groups, memory.multiples);
    const bool last = g + groups == groups_;
    for (int64_t block = 0; block < blocks(); ++block) {
      multiply_seconds(block, second_groups(block, g / chunk_), memory, g, groups, dots.listed[count], seconds);
      const float* rest = has_seconds(block) ? seconds : nullptr;
      const int64_t end = first_of_block(block + 1);
      for (int64_t begin = first_of_block(block); begin < end; begin += tile_rows_) {
        const int64_t tokens = std::min(tile_rows_, end - begin), at = begin * groups_ + g * tokens;
        UnpackedSums to{.sums = sums + begin * width, .anew = g == 0};
        if (last) prefetch_out(panels, first, begin + tokens, std::min(begin + 2 * tile_rows_, count_));
        if (last && direct) {
          out.rows = rows + begin * out.stride;
          to.out = &out;
          to.seconds = rest != nullptr ? rest + begin * width : nullptr;
        }
        dots.dot[count][tokens](memory, groups, groups, {rows_.codes + at * kGroupColumns, rows_.info + at}, to);
        if (last && !direct) store(panels, first, count, begin, begin + tokens, {sums, width}, rest);
      }
    }
  }
}

void PanelProduct::multiply_seconds(int64_t block, std::span<const int32_t> groups, const UnpackedPanel& panels,
                                    int64_t first_group, int64_t panel_groups, DotListed dot, float* rest) const {
  if (groups.empty()) return;
  const int64_t first = first_of_block(block), at = first * groups_;
  dot(panels, panel_groups, first_group,
      {.groups = groups,
       .counts = seconds_.counts + block * groups_,
       .places = first_of_block(block + 1) - first,
       .codes = seconds_.rows.codes + at * kGroupColumns,
       .info = seconds_.rows.info + at,
       .tokens = seconds_.tokens + at},
      rest);
}

// The lines of the output that the panels from `first` on will write for some tokens.
void PanelProduct::prefetch_out(const TargetPanels& panels, int64_t first, int64_t begin, int64_t end) const {
  constexpr int64_t kLineFloats = 16;
  const int64_t row = first * kernels_.width;
  for (int64_t t = begin; t < end; ++t) {
    const float* out = float_at(panels.target->out, out_row(t)) + row;
    for (int64_t i = 0; i < kernels_.panels * kernels_.width; i += kLineFloats) __builtin_prefetch(out + i, 1);
  }
}

// What `count` panels from `first` on give for tokens [begin, end). `sums` and `seconds` hold it for all.
void PanelProduct::store(const TargetPanels& panels, int64_t first, int64_t count, int64_t begin, int64_t end,
                         const Sums& sums, const float* seconds) const {
  const int64_t width = count * kernels_.width;
  kernels_.store({.sums = sums.first + begin * sums.stride,
                  .seconds = seconds != nullptr ? seconds + begin * width : nullptr,
                  .stride = sums.stride,
                  .seconds_stride = width,
                  .tokens = end - begin,
                  .rows = std::min(width, panels.target->weight->rows() - first * kernels_.width),
                  .out = output(panels, first, out_rows_ != nullptr ? 0 : begin),
                  .out_rows = out_rows_ != nullptr ? out_rows_ + begin : nullptr});
}

void PanelProduct::multiply(const TargetPanels& panels, int64_t first, int64_t count, Scratch& scratch) const {
  // Rows that come and go (src/memory/) are packed anew each time: what is packed stays in the cache.
  std::optional<PackedWeight> passing;
  const PackedWeight* weight = panels.packed;
  if (weight == nullptr && panels.format->pack != nullptr)
    weight = &passing.emplace(*panels.format, kernels_.width, kernels_.panels, panels.target->weight->view, nullptr);
  const bool from_packed = weight != nullptr && tiles_ <= kernels_.tiles.packed_tiles[panels.format->whole_codes];

  if (from_packed && panels.packed != nullptr) {
    const int64_t done = multiply_in_place(panels, first, count);
    first += done;
    count -= done;
    if (count == 0) return;
  }

  const int64_t bundle_sums = count_ * kernels_.panels * kernels_.width;
  const int64_t most = from_packed && weight->in_place() && tiles_ == 1 ? kRun : 1;
  const int64_t unpacked = code_floats(kernels_) + 2 * scale_floats(kernels_) + multiple_floats(kernels_);
  const int64_t bundle = weight != nullptr ? round_up(weight->bundle_bytes(), 64) / int64_t(sizeof(float)) : 0;
  float* memory = scratch.floats(bundle + unpacked + (most + 1) * bundle_sums);
  float *room = memory + bundle, *seconds = room + unpacked, *sums = seconds + bundle_sums;
  const UnpackedPanel unpack_to{reinterpret_cast<uint8_t*>(room), room + code_floats(kernels_),
                                room + code_floats(kernels_) + scale_floats(kernels_),
                                room + code_floats(kernels_) + 2 * scale_floats(kernels_)};

  for (const int64_t end = first + count; first < end;) {
    const int64_t of_bundle = std::min<int64_t>(kernels_.panels, end - first);
    const int64_t bundles = std::min(most, (end - first) / of_bundle);
    PackedPanels packed = {};
    if (weight != nullptr) packed = weight->panels(first, reinterpret_cast<uint8_t*>(memory));
    packed.bundles = bundles;
    if (from_packed) {
      multiply_packed(panels, packed, of_bundle, {.rows = sums, .stride = bundles * of_bundle * kernels_.width});
      finish_packed(panels, packed, first, of_bundle, unpack_to, sums, seconds);
    } else {
      multiply_unpacked(panels, packed, first, of_bundle, unpack_to, sums, seconds);
    }
    first += bundles * of_bundle;
  }
}

}  // namespace metallic::cpu
