// A model of a known shape with random weights, as a file that lies in memory only: for measuring how fast it would
// run. It has no tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "metallic/gguf.h"
#include "metallic/result.h"
#include "model/quantize_mix.h"
#include "model/shapes.h"

namespace metallic {

// "llama3.1-8b:q4_k_m": a shape and a type of `metallic quantize`.
struct RandomModelSpec {
  ModelShape shape;
  QuantizeType type;

  // kInvalidArgument lists the known shapes or types.
  static Result<RandomModelSpec> parse(std::string_view text);
  std::string name() const;
};

// Its metadata and tensors, without data: what quantize would make of the published model. `bytes` gets the size of all
// tensors.
Result<GgufWriter> random_model_layout(const RandomModelSpec& spec, uint64_t& bytes);

// An open file without a name; it goes when this does and nobody has it mapped.
class MemoryFile {
 public:
  // kOutOfMemory if the file, and `copies` of its weights that will be made of it, would not fit into memory.
  static Result<MemoryFile> of_random_model(const RandomModelSpec& spec, int copies);

  // The same without weights, of any size: they read as zeros.
  static Result<MemoryFile> of_layout(const RandomModelSpec& spec);

  MemoryFile(MemoryFile&& other) noexcept;
  MemoryFile& operator=(MemoryFile&&) = delete;
  ~MemoryFile();

  std::string path() const;  // under which this process can open it

 private:
  static Result<MemoryFile> create(const RandomModelSpec& spec);
  explicit MemoryFile(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;
};

}  // namespace metallic
