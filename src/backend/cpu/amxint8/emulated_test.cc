// The kernels of tile_dots.h on tiles in memory, so that tests can run them on processors with AVX-512 VNNI and no AMX.
// Compiled for that instruction set: no test's header may be included here.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <bit>
#include <utility>

#include "backend/cpu/emulated_tiles.h"
#include "backend/cpu/panels.h"
#include "quant/codebook_rows.h"
#include "quant/formats.h"

namespace metallic::cpu {
namespace {

#include "backend/cpu/avx512_panel_primitives.h"

// What the instructions do (Intel's Software Developer's Manual, volume 2), and a trap where they would fault.
struct Tile {
  int rows = 0, row_bytes = 0;
  uint8_t bytes[16][64];
};
thread_local Tile tiles[8];
thread_local bool in_use = false;
thread_local int64_t released = 0;

void require(bool condition) {
  if (!condition) __builtin_trap();
}
Tile& used(int number) {
  Tile& tile = tiles[number];
  require(in_use && tile.rows > 0);
  return tile;
}

struct Tiles {
  template <class Config>
  static void configure(const Config& config) {
    require(config.palette == 1 && config.start_row == 0);
    for (int i = 0; i < 8; ++i) {
      require(config.rows[i] <= 16 && config.row_bytes[i] <= 64);
      tiles[i] = {config.rows[i], config.row_bytes[i], {}};
    }
    in_use = true;
  }
  static void release() {
    in_use = false;
    ++released;
  }
  template <int kTile>
  static void zero() {
    used(kTile) = {used(kTile).rows, used(kTile).row_bytes, {}};
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    Tile& tile = used(kTile);
    for (int row = 0; row < tile.rows; ++row)
      __builtin_memcpy(tile.bytes[row], static_cast<const uint8_t*>(from) + row * stride, size_t(tile.row_bytes));
  }
  template <int kTile, int kRows>
  static void store(int32_t (&to)[kRows][16]) {
    const Tile& tile = used(kTile);
    require(tile.rows == kRows && tile.row_bytes == sizeof(to[0]));
    __builtin_memcpy(to, tile.bytes, sizeof(to));
  }
  template <int kSum, int kX, int kWeights>
  static void dot() {
    Tile& sum = used(kSum);
    const Tile &x = used(kX), &weights = used(kWeights);
    require(sum.rows == x.rows && sum.row_bytes == weights.row_bytes && x.row_bytes == 4 * weights.rows);
    for (int row = 0; row < sum.rows; ++row)
      for (int lane = 0; lane < sum.row_bytes / 4; ++lane) {
        int32_t total;
        __builtin_memcpy(&total, sum.bytes[row] + 4 * lane, 4);
        for (int k = 0; k < x.row_bytes; ++k)
          total += int8_t(x.bytes[row][k]) * int8_t(weights.bytes[k / 4][4 * lane + k % 4]);
        __builtin_memcpy(sum.bytes[row] + 4 * lane, &total, 4);
      }
  }
};

#include "backend/cpu/amxint8/tile_dots.h"

}  // namespace

const PanelKernels& emulated_tile_panels() {
  static const PanelKernels kernels = make_tile_kernels("amxint8_emulated");
  return kernels;
}
bool emulated_tiles_in_use() { return in_use; }
int64_t emulated_releases() { return released; }

}  // namespace metallic::cpu
