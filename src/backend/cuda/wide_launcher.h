// Plans the commands of steps with more rows than matvec.cu takes: prompts, and many sequences at a time.
#pragma once

#include <memory>
#include <span>

#include "backend/cuda/commands.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/queue.h"
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
  // A new list begins.
  void begin() { ready_ = {}; }
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
  void multiply(const Gemm::Product& product);
  Sixteen sixteen(int buffer, Way way, int rows, int columns, bool half);

  Stream& stream_;
  std::unique_ptr<Gemm> gemm_;
  Scratch x_[2], product_, partial_, arrived_;
  int32_t dependent_ = 0;
  bool warpgroups_ = false;
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
