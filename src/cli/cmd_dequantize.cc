// metallic dequantize: one tensor of a GGUF file as a NumPy array.
#include <algorithm>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/npy.h"
#include "base/processors.h"
#include "cli/commands.h"
#include "metallic/gguf.h"
#include "quant/parallel_dequantize.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string path;
  std::string tensor;
  std::string output;
};

// Integers and F64 keep their type, which float32 could not hold exactly; all else becomes float32.
NpyType output_type(Format format) {
  switch (format) {
    case Format::kF64:
      return NpyType::kFloat64;
    case Format::kI8:
      return NpyType::kInt8;
    case Format::kI16:
      return NpyType::kInt16;
    case Format::kI32:
      return NpyType::kInt32;
    case Format::kI64:
      return NpyType::kInt64;
    default:
      return NpyType::kFloat32;
  }
}

Status write_decoded(NpyWriter& writer, Format format, std::span<const std::byte> data, uint64_t elements) {
  constexpr uint64_t kChunk = 2 * kWeightsWorthAThread;  // a multiple of every block
  const FormatInfo& info = format_info(format);
  const auto useful_threads = int(std::min(kChunk, elements) / uint64_t(kWeightsWorthAThread));
  ThreadPool pool(std::clamp(useful_threads, 1, available_processors()));
  std::vector<float> weights(size_t(std::min(kChunk, elements)));
  for (uint64_t i = 0; i < elements; i += kChunk) {
    const uint64_t count = std::min(kChunk, elements - i);
    parallel_dequantize(format, data.data() + i / uint64_t(info.block_elements) * uint64_t(info.block_bytes),
                        int64_t(count), weights.data(), pool);
    METALLIC_TRY(writer.append(std::as_bytes(std::span(weights.data(), size_t(count)))));
  }
  return {};
}

Status dequantize(const Options& options) {
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(options.path));
  const TensorInfo* tensor = file.find_tensor(options.tensor);
  if (tensor == nullptr)
    return fail(ErrorCode::kNotFound, "{}: has no tensor '{}'; `metallic inspect {} --tensors` lists its {}",
                options.path, options.tensor, options.path, file.tensors().size());
  const NpyType type = output_type(tensor->format);
  const std::vector<uint64_t> shape(tensor->size.rend() - tensor->rank, tensor->size.rend());  // outermost first
  METALLIC_ASSIGN(NpyWriter writer, NpyWriter::create(options.output, type, shape));
  const std::span<const std::byte> data = file.tensor_data(*tensor);
  METALLIC_TRY(type == NpyType::kFloat32 ? write_decoded(writer, tensor->format, data, tensor->elements())
                                         : writer.append(data));
  METALLIC_TRY(file.check_intact());
  return writer.finish();
}

}  // namespace

void add_dequantize(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("dequantize", "Write a tensor as a NumPy array");
  command->add_option("FILE", options->path, "the GGUF file; any part of a split model")->required();
  command->add_option("TENSOR", options->tensor, "the name of the tensor")->required();
  command->add_option("-o,--output", options->output, "the .npy file to write, replaced if it exists")->required();
  command->footer(
      "The array is float32, and of the tensor's own type for I8, I16, I32, I64 and F64. Its shape is in NumPy's\n"
      "order, the reverse of the file's: (rows, columns) for a matrix.\n"
      "Examples:\n"
      "  metallic dequantize model.gguf token_embd.weight -o embedding.npy\n"
      "  metallic dequantize model.gguf blk.0.attn_q.weight -o /dev/stdout | sha256sum");
  command->callback([options, &action] { action = [options] { return dequantize(*options); }; });
}

}  // namespace metallic::cli
