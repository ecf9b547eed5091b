#include "model/mlp.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace metallic {
namespace {

Result<Activation> activation_named(std::string_view name) {
  struct Entry {
    const char* name;
    Activation activation;
  };
  static constexpr Entry kNames[] = {
      {"identity", Activation::kIdentity}, {"relu", Activation::kRelu}, {"silu", Activation::kSilu},
      {"gelu", Activation::kGelu},         {"tanh", Activation::kTanh}, {"sigmoid", Activation::kSigmoid},
  };
  std::string known;
  for (const Entry& entry : kNames) {
    if (name == entry.name) return entry.activation;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return fail(ErrorCode::kUnsupported, "the activation '{}' is unknown; there are: {}", name, known);
}

// The two sizes of a layer's weight, from the file itself: the loader then checks the rest against them.
Result<std::pair<int64_t, int64_t>> weight_size(const GgufFile& file, const std::string& name) {
  const TensorInfo* info = file.find_tensor(name);
  if (info == nullptr) return fail(ErrorCode::kNotFound, "{}: the tensor {} is missing", file.path(), name);
  if (info->rank > 2)
    return fail(ErrorCode::kCorrupt, "{}: the tensor {} has rank {}; a matrix is needed", file.path(), name,
                info->rank);
  return std::pair(int64_t(info->size[0]), int64_t(info->size[1]));
}

}  // namespace

Result<Mlp> Mlp::load(const std::string& path, std::shared_ptr<Backend> backend) {
  METALLIC_ASSIGN(GgufFile opened, GgufFile::open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  METALLIC_ASSIGN(const std::string_view arch, file->get_string("general.architecture"));
  if (arch != "mlp")
    return fail(ErrorCode::kUnsupported, "{}: the architecture is '{}'; a feed-forward network ('mlp') is needed", path,
                arch);
  METALLIC_ASSIGN(const uint64_t count, file->get_unsigned("mlp.block_count"));
  if (count == 0 || count > file->tensors().size())
    return fail(ErrorCode::kCorrupt, "{}: mlp.block_count is {}, but the file has {} tensors", path, count,
                file->tensors().size());

  Mlp mlp;
  mlp.file_ = file;
  mlp.backend_ = std::move(backend);
  METALLIC_ASSIGN(const std::string_view hidden, file->get_string("mlp.activation"));
  METALLIC_ASSIGN(const std::string_view output, file->get_string_or("mlp.output_activation", "identity"));
  auto hidden_activation = activation_named(hidden);
  if (!hidden_activation) return fail_while(path + ": mlp.activation", hidden_activation.error());
  mlp.hidden_ = *hidden_activation;
  mlp.softmax_output_ = output == "softmax";
  if (!mlp.softmax_output_) {
    auto output_activation = activation_named(output);
    if (!output_activation) return fail_while(path + ": mlp.output_activation", output_activation.error());
    mlp.output_ = *output_activation;
  }

  TensorLoader loader(file, *mlp.backend_, nullptr);
  METALLIC_ASSIGN(const uint64_t input_length, file->get_unsigned_or("mlp.input_length", 0));
  METALLIC_ASSIGN(const uint64_t output_length, file->get_unsigned_or("mlp.output_length", 0));
  int64_t width = int64_t(std::min<uint64_t>(input_length, INT64_MAX));
  for (uint64_t i = 0; i < count; ++i) {
    const std::string name = fmt::format("blk.{}.", i);
    METALLIC_ASSIGN(const auto size, weight_size(*file, name + "weight"));
    MlpLayer& layer = mlp.layers_.emplace_back();
    METALLIC_ASSIGN(layer.weight, loader.matrix(name + "weight", size.second, width == 0 ? size.first : width));
    METALLIC_ASSIGN(layer.bias, loader.optional_vector(name + "bias", size.second));
    width = size.second;
  }
  if (output_length != 0 && uint64_t(width) != output_length)
    return fail(ErrorCode::kCorrupt, "{}: mlp.output_length is {}, but the last layer gives {}", path, output_length,
                width);
  METALLIC_TRY(loader.check_all_used());
  return mlp;
}

Result<std::vector<float>> Mlp::evaluate(std::span<const float> input) const {
  if (input.empty() || input.size() % size_t(inputs()) != 0)
    return fail(ErrorCode::kInvalidArgument, "{} input values: the network takes rows of {}", input.size(), inputs());
  const int64_t rows = int64_t(input.size()) / inputs();
  int64_t widest = inputs();
  for (const MlpLayer& layer : layers_) widest = std::max(widest, layer.weight.rows());
  METALLIC_ASSIGN(const std::shared_ptr<void> first, backend_->allocate(uint64_t(rows * widest) * sizeof(float)));
  METALLIC_ASSIGN(const std::shared_ptr<void> second, backend_->allocate(uint64_t(rows * widest) * sizeof(float)));
  void* from = first.get();
  void* to = second.get();
  backend_->copy_from_host(from, input.data(), input.size_bytes());
  for (const MlpLayer& layer : layers_) {
    const TensorView x = TensorView::dense(from, Format::kF32, {rows, layer.weight.columns()});
    const TensorView y = TensorView::dense(to, Format::kF32, {rows, layer.weight.rows()});
    const LinearTarget target{&layer.weight, layer.bias.data(), y, false, Precision::kFloat};
    backend_->linear({x, {&target, 1}});
    const bool last = &layer == &layers_.back();
    backend_->activate({last ? output_ : hidden_, y, {}, y});
    if (last && softmax_output_) backend_->softmax(y, y);
    std::swap(from, to);
  }
  std::vector<float> result(size_t(rows * outputs()));
  backend_->copy_to_host(result.data(), from, result.size() * sizeof(float));
  METALLIC_TRY(backend_->synchronize());
  METALLIC_TRY(file_->check_intact());  // weights of a file that was cut short read as zero
  return result;
}

}  // namespace metallic
