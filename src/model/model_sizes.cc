#include "model/model_sizes.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>

#include "backend/weight_bytes.h"
#include "base/error.h"
#include "model/activations.h"
#include "model/kv_cache.h"

namespace metallic {
namespace {

constexpr uint64_t kSlicesOfAModel = 256;  // about
constexpr uint64_t kLargestSlice = uint64_t{32} << 20;

// The block that a tensor belongs to. Experts of a layer share one entry here.
struct Role {
  BlockKind kind;
  int layer;
  auto operator<=>(const Role&) const = default;
};

// The number of "blk.7.attn_q.weight", and the rest of the name.
std::optional<std::pair<int, std::string_view>> layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const size_t length = size_t(end - name.data());
  if (error != std::errc() || length == name.size() || name[length] != '.') return std::nullopt;
  return std::pair(layer, name.substr(length + 1));
}

Role role_of(std::string_view name, bool tied) {
  if (const auto in_layer = layer_of(name)) {
    const auto [layer, rest] = *in_layer;
    if (rest.find("_exps.") != std::string_view::npos) return {BlockKind::kExpert, layer};
    const bool attention = rest.starts_with("attn_") || rest.starts_with("post_attention");
    return {attention ? BlockKind::kAttention : BlockKind::kFeedForward, layer};
  }
  const bool head = name.starts_with("output") || (tied && name == "token_embd.weight");
  return {head ? BlockKind::kHead : BlockKind::kEmbedding, -1};
}

struct TensorBytes {
  uint64_t file = 0, cpu = 0, gpu = 0;
};

// Vectors become floats; the matrices of stacked experts are packed one by one.
TensorBytes bytes_of(const TensorInfo& tensor, bool multiplied, bool repack) {
  if (tensor.rank < 2) return {tensor.bytes, tensor.elements() * sizeof(float), tensor.elements() * sizeof(float)};
  const int64_t columns = int64_t(tensor.size[0]), rows = int64_t(tensor.size[1]);
  const uint64_t count = tensor.size[2] * tensor.size[3];
  const uint64_t cpu = multiplied ? cpu_weight_bytes(tensor.format, rows, columns, repack) * count : tensor.bytes;
  return {tensor.bytes, cpu, gpu_weight_bytes(tensor.format, rows, columns) * count};
}

class Collector {
 public:
  Collector(const GgufFile& file, const Config& config, const SizeOptions& options)
      : config_(config), options_(options), tied_(file.find_tensor("output.weight") == nullptr) {}

  void add(int index, const TensorInfo& tensor) {
    const Role role = role_of(tensor.name, tied_);
    Block& block = blocks_[role];
    block.kind = role.kind;
    block.layer = role.layer;
    block.tensors.push_back(index);
    const bool multiplied = role.kind != BlockKind::kEmbedding;
    const TensorBytes bytes = bytes_of(tensor, multiplied, options_.repack);
    block.file_bytes += bytes.file;
    block.cpu_bytes += bytes.cpu;
    block.gpu_bytes += bytes.gpu;
    if (multiplied && tensor.rank >= 2) block.operations += 2 * double(tensor.elements());
    if (!multiplied && tensor.rank >= 2 && tensor.size[1] > 0)
      block.read_share = std::min(block.read_share, 1 / double(tensor.size[1]));
  }

  std::vector<Block> take() {
    uint64_t total = 0;
    for (const auto& [role, block] : blocks_) total += block.gpu_bytes;
    slice_bytes_ = std::clamp(total / kSlicesOfAModel, options_.smallest_slice, kLargestSlice);
    std::vector<Block> result;
    for (auto& [role, block] : blocks_) {
      if (role.kind == BlockKind::kExpert && config_.experts.count > 0)
        add_experts(block, result);
      else
        result.push_back(sliced(std::move(block)));
    }
    const auto order = [](const Block& block) {
      const bool last = block.kind == BlockKind::kHead || block.kind == BlockKind::kEmbedding;
      return std::tuple(last, block.layer, block.kind, block.expert);
    };
    std::stable_sort(result.begin(), result.end(), [&](const Block& a, const Block& b) { return order(a) < order(b); });
    return result;
  }

 private:
  Block sliced(Block block) const {
    if (block.kind == BlockKind::kHead) block.products = 1;
    if (block.kind == BlockKind::kExpert)  // a layer's are handed over together
      block.products = 1.0 / std::max(1, config_.experts.used);
    if (block.kind != BlockKind::kEmbedding)
      block.slices = int((std::max(block.gpu_bytes, block.file_bytes) + slice_bytes_ - 1) / slice_bytes_);
    block.slices = std::max(1, block.slices);
    return block;
  }

  void add_experts(const Block& all, std::vector<Block>& result) const {
    const uint64_t count = uint64_t(config_.experts.count);
    Block one = all;
    one.file_bytes = (all.file_bytes + count - 1) / count;
    one.cpu_bytes = (all.cpu_bytes + count - 1) / count;
    one.gpu_bytes = (all.gpu_bytes + count - 1) / count;
    one.operations /= double(count);
    one.use = double(config_.experts.used) / double(count);
    one = sliced(one);
    for (one.expert = 0; one.expert < config_.experts.count; ++one.expert) result.push_back(one);
  }

  const Config& config_;
  const SizeOptions& options_;
  const bool tied_;
  uint64_t slice_bytes_ = kLargestSlice;
  std::map<Role, Block> blocks_;
};

// Sizes that loading the weights would tell.
Config completed(const GgufFile& file, Config config) {
  const auto rows_of = [&](std::string_view name) {
    const TensorInfo* tensor = file.find_tensor(name);
    return tensor == nullptr ? 0 : int(std::min<uint64_t>(tensor->size[1], INT32_MAX));
  };
  config.vocab = std::max(config.vocab, rows_of("token_embd.weight"));
  for (int layer = 0; layer < config.layers && config.experts.count > 0; ++layer)
    config.experts.shared_width =
        std::max(config.experts.shared_width, rows_of(fmt::format("blk.{}.ffn_up_shexp.weight", layer)));
  return config;
}

}  // namespace

Result<ModelSizes> model_sizes(const GgufFile& file, const Config& given, const SizeOptions& options) {
  const Config config = completed(file, given);
  ModelSizes sizes;
  sizes.name = file.path().substr(file.path().find_last_of('/') + 1);
  sizes.layers = config.layers;
  sizes.context_length = config.context_length;
  sizes.page_tokens = options.page_tokens;
  Collector collector(file, config, options);
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const TensorInfo& tensor = file.tensors()[i];
    const auto layer = layer_of(tensor.name);
    if (layer && layer->first >= config.layers)
      return fail(ErrorCode::kCorrupt, "{}: the tensor {} is of a block beyond the {} of the metadata", file.path(),
                  tensor.name, config.layers);
    collector.add(int(i), tensor);
  }
  sizes.blocks = collector.take();
  sizes.packed = options.repack;

  METALLIC_TRY(check_kv_formats(config, options.kv_formats, nullptr));
  sizes.kv_token_bytes = kv_token_bytes(config, options.kv_formats);
  sizes.attention_operations = 2.0 * config.heads * (double(config.head_dim) + config.value_dim);

  const int heads = config.query_width() + config.heads * config.value_dim;
  sizes.attention_row_bytes = uint64_t(heads + config.key_width() + config.value_width()) * sizeof(float);

  constexpr int kFew = 64, kMany = 128;
  const int head = options.logit_rows;
  const auto few = Activations::bytes_for(config, kFew, head), many = Activations::bytes_for(config, kMany, head);
  if (!few || !many) return fail(ErrorCode::kOutOfMemory, "{}: its activations are too large", file.path());
  // Beside them each token is kept in two levels of codes while it is multiplied.
  const int64_t widest = std::max<int64_t>({config.ff_width, config.width, config.query_width()});
  sizes.activation_row_bytes = (*many - *few) / (kMany - kFew) + uint64_t(3 * widest);
  // Rows of experts that are not all on a GPU are sorted there: inputs and results once more.
  const int64_t expert_row = config.width + std::max(config.width, config.experts.width);
  sizes.sorted_row_bytes = uint64_t(config.experts.used * expert_row) * sizeof(float);
  sizes.activation_fixed_bytes = *few - std::min(*few, (*many - *few));
  return sizes;
}

}  // namespace metallic
