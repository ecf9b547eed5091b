#include "backend/cpu/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu/cpu.h"
#include "backend/cpu/packed.h"
#include "backend/cpu/panel_linear.h"
#include "base/log.h"
#include "base/processors.h"

namespace metallic::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kClearGain = 1.05;  // less than that may be chance
constexpr int kTries = 4;
constexpr int64_t kMostPackedTiles = 10;
constexpr Format kBySize[2] = {Format::kQ4_0, Format::kQ8_0};  // by PanelFormat::whole_codes
// For the sizes of tiles, a matrix that stays in the cache; for what is packed, one that the second level does not
// hold.
constexpr int64_t kSmallRows = 128, kSmallColumns = 2048, kManyTokens = 120, kLargeRows = 1024, kLargeColumns = 4096;

// Times products of a matrix with some tokens.
class Timer {
 public:
  Timer(const PanelKernels& kernels, Format format, int64_t rows, int64_t columns)
      : kernels_(kernels), columns_(columns), blocks_(one_scale(format, rows, columns)), x_(size_t(kMost * columns)) {
    for (size_t i = 0; i < x_.size(); ++i) x_[i] = float(i % 251) - 125;
    weight_.view = TensorView::dense(blocks_.data(), format, {rows, columns});
    auto packed = std::make_shared<PackedWeight>(*kernels_.format(format), kernels_.width, kernels_.panels,
                                                 weight_.view, nullptr);
    memory_.resize(size_t(packed->bytes()));
    packed->set_memory(std::shared_ptr<uint8_t>(std::shared_ptr<void>(), memory_.data()));
    weight_.packed = std::move(packed);
    out_.resize(size_t(kMost * rows));
  }

  // Is `b` clearly faster than `a`? The best of a few tries of each, in turn, since the machine's own speed drifts.
  bool gains(const PanelTiles& a, const PanelTiles& b, int64_t tokens) {
    double best_a = std::numeric_limits<double>::max(), best_b = best_a;
    for (int i = 0; i <= kTries; ++i) {  // the first makes all ready
      const double time_a = seconds(a, tokens), time_b = seconds(b, tokens);
      if (i == 0) continue;
      best_a = std::min(best_a, time_a);
      best_b = std::min(best_b, time_b);
    }
    return best_b * kClearGain < best_a;
  }

 private:
  static constexpr int64_t kMost = kManyTokens;

  // Blocks of 32 numbers behind a half-precision scale of 1.
  static std::vector<uint8_t> one_scale(Format format, int64_t rows, int64_t columns) {
    const FormatInfo& info = format_info(format);
    std::vector<uint8_t> bytes(size_t(rows * columns / info.block_elements * info.block_bytes));
    for (size_t i = 0; i < bytes.size(); ++i) {
      const size_t at = i % size_t(info.block_bytes);
      bytes[i] = at == 0 ? 0 : at == 1 ? 0x3c : uint8_t(i * 37);
    }
    return bytes;
  }

  double seconds(const PanelTiles& tiles, int64_t tokens) {
    kernels_.tiles = tiles;
    const auto start = Clock::now();
    multiply(tokens);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  void multiply(int64_t tokens) {
    work_.clear();
    const size_t product =
        work_.add_product(kernels_, TensorView::dense(x_.data(), Format::kF32, {tokens, columns_}), tokens);
    work_.add_target(
        kernels_, product,
        {&weight_, nullptr, TensorView::dense(out_.data(), Format::kF32, {tokens, weight_.rows()}), false});
    work_.run(shared_, scratch_);
  }

  PanelKernels kernels_;
  int64_t columns_;
  std::vector<uint8_t> blocks_, memory_;
  std::vector<float> x_, out_;
  Weight weight_;
  PanelWork work_;
  Scratch scratch_, shared_;
};

class Tuning {
 public:
  explicit Tuning(const PanelKernels& kernels) : kernels_(kernels), best_(kernels.tiles) {}

  // None if time ran out.
  std::optional<PanelTiles> run() {
    if (!choose_tile() || !choose_packed(false) || !choose_packed(true)) return std::nullopt;
    return best_;
  }

 private:
  bool late() const { return std::chrono::duration<double>(Clock::now() - start_).count() > kTuningSeconds; }

  // These two: false if time ran out.
  bool choose_tile() {
    Timer timer(kernels_, kBySize[0], kSmallRows, kSmallColumns);
    for (const int tokens : {kernels_.tiles.tokens, kernels_.tiles.tokens - 1, kernels_.tiles.tokens - 2})
      for (const int64_t groups : {kUnpackGroups / 4, kUnpackGroups / 2, kUnpackGroups}) {
        PanelTiles tiles = best_;
        tiles.tokens = tokens;
        tiles.unpack_groups = groups;
        if (tokens < 2 || tiles == best_) continue;
        if (late()) return false;
        if (timer.gains(best_, tiles, kManyTokens)) best_ = tiles;
      }
    return true;
  }

  bool choose_packed(bool whole) {
    Timer timer(kernels_, kBySize[whole], kLargeRows, kLargeColumns);
    int64_t& packed = best_.packed_tiles[whole];
    // Are so many tiles multiplied faster from packed panels (or from unpacked ones)?
    const auto better = [&](int64_t count, bool from_packed) {
      PanelTiles without = best_, with = best_;
      without.packed_tiles[whole] = count - 1;
      with.packed_tiles[whole] = count;
      return timer.gains(from_packed ? without : with, from_packed ? with : without, count * best_.tokens);
    };
    const int64_t start = packed;
    for (; packed < kMostPackedTiles && (packed + 1) * best_.tokens <= kManyTokens && better(packed + 1, true);
         ++packed)
      if (late()) return false;
    if (packed > start) return true;
    for (; packed > 1 && better(packed, false); --packed)
      if (late()) return false;
    return !late();
  }

  const PanelKernels& kernels_;
  PanelTiles best_;
  const Clock::time_point start_ = Clock::now();
};

struct CachedTiles {
  explicit CachedTiles(const PanelKernels& kernels)
      : prefix(fmt::format("{} {}{}", processor_name(), kernels.name, kTilesKey)),
        usual(kernels.tiles) {}

  std::optional<PanelTiles> find(const RateCache& cache) const {
    const auto number = [&](const char* name, int64_t most) -> int64_t {
      const double value = cache.find(prefix + name).value_or(0);
      return value >= 1 && value <= double(most) && value == double(int64_t(value)) ? int64_t(value) : 0;
    };
    PanelTiles tiles = usual;
    tiles.tokens = int(number("tokens", usual.tokens));
    tiles.unpack_groups = number("groups", kUnpackGroups);
    tiles.packed_tiles[0] = number("packed", kMostPackedTiles);
    tiles.packed_tiles[1] = number("packed whole", kMostPackedTiles);
    if (tiles.tokens < 2 || tiles.unpack_groups < 1 || tiles.packed_tiles[0] < 1 || tiles.packed_tiles[1] < 1)
      return std::nullopt;
    return tiles;
  }

  void set(const PanelTiles& tiles, RateCache& cache) const {
    cache.set(prefix + "tokens", tiles.tokens);
    cache.set(prefix + "groups", double(tiles.unpack_groups));
    cache.set(prefix + "packed", double(tiles.packed_tiles[0]));
    cache.set(prefix + "packed whole", double(tiles.packed_tiles[1]));
  }

  std::string prefix;
  PanelTiles usual;  // the rest is not measured
};

}  // namespace

PanelTiles tune(const PanelKernels& kernels, RateCache& cache) {
  const CachedTiles cached(kernels);
  if (const auto known = cached.find(cache)) return *known;
  const auto measured = Tuning(kernels).run();
  if (!measured) return kernels.tiles;
  log(LogLevel::kInfo,
      "best here for {}: {} tokens a tile, {} groups unpacked at a time, up to {} tiles from packed codes ({} of 8 "
      "bits)",
      kernels.name, measured->tokens, measured->unpack_groups, measured->packed_tiles[0], measured->packed_tiles[1]);
  cached.set(*measured, cache);
  return *measured;
}

PanelTiles tuned_tiles(const PanelKernels& kernels) {
  const char* wish = std::getenv("METALLIC_TUNE");
  if (wish != nullptr && std::string_view(wish) == "0") return kernels.tiles;
  static std::mutex mutex;
  static std::map<std::string, PanelTiles, std::less<>> known;
  const std::scoped_lock lock(mutex);
  const auto found = known.find(kernels.name);
  if (found != known.end()) return found->second;
  RateCache cache = RateCache::open();
  const PanelTiles tiles = tune(kernels, cache);
  cache.save();
  return known.emplace(kernels.name, tiles).first->second;
}

}  // namespace metallic::cpu
