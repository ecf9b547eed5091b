// Plans the commands of steps with more rows than matvec.cu takes: prompts, and many sequences at a time.
#pragma once

#include <memory>
#include <span>

#include "backend/cuda/commands.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/slices.h"
#include "backend/cuda/wide.h"

namespace metallic::cuda {

class WideLauncher {
 public:
  explicit WideLauncher(Stream& stream);
  // Launches the first commands of a list and says how many; 0: they are not for this launcher, and nothing was done.
  size_t step(std::span<const Command> commands);
  // For an attention that step() has left to others: where its result goes in 16 bits, for the product behind it; or no
  // data.
  Sixteen attention_output(std::span<const Command> commands);
  // Whether products of matrices in slices (slices.h) are possible.
  bool takes_slices(const LinearArgs& linear) const { return way_of(linear) == Way::kPanels; }
  // Smaller products read weights as they are; those that do so after all only take more launches.
  bool decodes_first(int64_t rows) const { return rows > most_tiled_rows(warpgroups_); }
  // A new list begins, with points that products of such matrices pass.
  void begin(Points& points) {
    ready_ = {};
    points_ = &points;
  }
  uint64_t generation() const;

 private:
  enum class Way { kNone, kTiles, kPanels };  // tile_product.cu, or a library

  Way way_of(const LinearArgs& linear) const;
  size_t norm(std::span<const Command> commands);
  size_t linear(std::span<const Command> commands);
  size_t attention(std::span<const Command> commands);

  bool prepare(const LinearArgs& linear, Way way, const NormArgs* norm, std::span<const Command> after);
  size_t gate(std::span<const Command> commands, Way way);
  size_t query_key_value(std::span<const Command> commands, Way way);
  size_t residual(std::span<const Command> commands, Way way);
  bool plain(const LinearArgs& linear, Way way);
  bool apart(const LinearArgs& linear);
  bool tiles(TileProductArgs& args, const LinearArgs& linear);
  bool tiles_by_format(const LinearArgs& linear);
  void multiply(Gemm::Product product);
  Sixteen sixteen(int buffer, Way way, int rows, int columns, bool half);

  Stream& stream_;
  std::unique_ptr<Gemm> gemm_;
  Scratch x_[2], product_, partial_, arrived_;
  int32_t dependent_ = 0;
  bool warpgroups_ = false;
  Points* points_ = nullptr;
  const LinearArgs* launching_ = nullptr;
  Parts parts_;  // of its product
  // What x_[buffer] holds for the product that comes next.
  struct {
    Rows x;
    int32_t rows, columns;
    Way way;
    int32_t half;
    int buffer;
    Sixteen data;
  } ready_ = {};
};

}  // namespace metallic::cuda
