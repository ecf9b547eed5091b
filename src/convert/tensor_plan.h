// What will be written: the tensors of the GGUF file, each with where its numbers come from. Nothing is read before it
// is written.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "convert/weight_view.h"
#include "metallic/format.h"
#include "metallic/result.h"

namespace metallic::convert {

// Weights in MXFP4 as Hugging Face stores them: 16 bytes of codes and one scale for each 32 weights, in two tensors.
struct Mxfp4Source {
  std::optional<WeightView> codes;   // (experts, rows, columns / 32, 16) of U8
  std::optional<WeightView> scales;  // (experts, rows, columns / 32) of U8
};

struct PlannedTensor {
  std::string name;                     // in the GGUF file
  std::vector<int64_t> shape;           // outermost first
  std::map<int64_t, WeightView> parts;  // by number: one, or one for each expert or head, one after the other
  int64_t parts_wanted = 1;
  float add = 0;                     // to every element
  std::vector<float> values;         // in place of parts: numbers that conversion makes
  std::optional<Mxfp4Source> mxfp4;  // in place of parts
  Format format = Format::kF32;      // chosen last

  int64_t elements() const;
};

// A metadata key of numbers, a row for each block: what GGUF has no tensor for in this architecture, so that other
// programs would refuse a file that had one.
struct PlannedKey {
  std::string key;  // without the architecture
  int64_t blocks = 0, width = 0;
  std::map<int64_t, WeightView> rows;  // by block; the others are zeros

  std::vector<float> values() const;  // (blocks, width)
};

class TensorPlan {
 public:
  // A whole tensor. `view` has as many elements as `shape`. kCorrupt if the name is taken.
  Status add(const std::string& name, std::vector<int64_t> shape, const WeightView& view, float add = 0);
  Status add_values(const std::string& name, std::vector<int64_t> shape, std::vector<float> values);
  // Both must come; each says the whole shape.
  Status add_mxfp4_codes(const std::string& name, const WeightView& codes);
  Status add_mxfp4_scales(const std::string& name, const WeightView& scales);
  // Part `index` of `count`; they become the outermost dimension. `shape` is that of a part.
  Status add_part(const std::string& name, int64_t index, int64_t count, std::span<const int64_t> shape,
                  const WeightView& view);

  // Row `block` of `blocks` of a key. kCorrupt if it is taken.
  Status add_key_row(std::string_view key, int64_t block, int64_t blocks, const WeightView& row);

  bool has(const std::string& name) const { return index_.count(name) != 0; }
  // kNotFound if a tensor has parts that never came; says which.
  Status check_complete() const;
  // In the order of the file: what comes before the blocks, the blocks by number, what comes after.
  std::vector<PlannedTensor> take();
  std::vector<PlannedKey> take_keys() { return std::move(keys_); }

 private:
  Result<PlannedTensor*> create(const std::string& name, std::vector<int64_t> shape);
  Result<Mxfp4Source*> mxfp4(const std::string& name, std::vector<int64_t> shape);

  std::vector<PlannedTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<PlannedKey> keys_;
};

}  // namespace metallic::convert
