// What the planner is told of a model, held to the file and to what loading it takes.
#include "model/model_sizes.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "backend/backend.h"
#include "backend/weight_bytes.h"
#include "model/activations.h"
#include "model/random_model.h"

namespace metallic {
namespace {

ModelSizes sizes_of(const char* name, const SizeOptions& options = {}) {
  const auto layout = MemoryFile::of_layout(RandomModelSpec::parse(name).value());
  EXPECT_TRUE(layout) << (layout ? "" : layout.error().message);
  const auto file = GgufFile::open(layout->path());
  EXPECT_TRUE(file) << (file ? "" : file.error().message);
  const auto config = read_config(*file);
  EXPECT_TRUE(config) << (config ? "" : config.error().message);
  const auto sizes = model_sizes(*file, *config, options);
  EXPECT_TRUE(sizes) << (sizes ? "" : sizes.error().message);
  // Every tensor is in a block; of experts, in the block of each.
  std::set<int> tensors;
  for (const Block& block : sizes->blocks) tensors.insert(block.tensors.begin(), block.tensors.end());
  EXPECT_EQ(tensors.size(), file->tensors().size());
  uint64_t tensor_bytes = 0, block_bytes = 0;
  for (const TensorInfo& tensor : file->tensors()) tensor_bytes += tensor.bytes;
  for (const Block& block : sizes->blocks) block_bytes += block.file_bytes;
  EXPECT_GE(block_bytes, tensor_bytes);
  EXPECT_LE(block_bytes, tensor_bytes + sizes->blocks.size());  // an expert's part is rounded up
  return *sizes;
}

int count(const ModelSizes& sizes, BlockKind kind) {
  return int(std::count_if(sizes.blocks.begin(), sizes.blocks.end(), [&](const Block& b) { return b.kind == kind; }));
}

TEST(ModelSizes, HaveABlockForEachPart) {
  const ModelSizes dense = sizes_of("llama3.1-8b:q4_k_m");
  EXPECT_EQ(count(dense, BlockKind::kAttention), 32);
  EXPECT_EQ(count(dense, BlockKind::kFeedForward), 32);
  EXPECT_EQ(count(dense, BlockKind::kHead), 1);
  EXPECT_EQ(count(dense, BlockKind::kEmbedding), 1);
  EXPECT_EQ(dense.kv_token_bytes, 2u * 2 * 8 * 128);
  double weights = 0;
  for (const Block& block : dense.blocks) weights += block.operations / 2;
  EXPECT_NEAR(weights / 1e9, 8.03 - 0.525, 0.01);  // all but the embedding
}

TEST(ModelSizes, CountTiedHeadsOnceAndAsTheHead) {
  const ModelSizes tied = sizes_of("smollm2-135m:q8_0");
  EXPECT_EQ(count(tied, BlockKind::kHead), 1);
  EXPECT_EQ(count(tied, BlockKind::kEmbedding), 0);
}

TEST(ModelSizes, OfMixturesHaveABlockForEachExpertAndItsUse) {
  const ModelSizes mixture = sizes_of("mixtral-8x7b:q4_k_m");
  EXPECT_EQ(count(mixture, BlockKind::kExpert), 32 * 8);
  for (const Block& block : mixture.blocks) EXPECT_EQ(block.use, block.kind == BlockKind::kExpert ? 0.25 : 1);
  const ModelSizes latent = sizes_of("deepseek-v3:q4_k_m");
  EXPECT_EQ(count(latent, BlockKind::kExpert), 58 * 256);
  EXPECT_EQ(count(latent, BlockKind::kFeedForward), 61);  // dense ones, and the shared experts
  EXPECT_EQ(latent.kv_token_bytes, 2u * (576 + 512));
}

// What the CPU's blocks are said to take is what packing them takes.
TEST(ModelSizes, AreThoseOfPackedWeights) {
  const auto backend = open_backend("cpu", 1);
  ASSERT_TRUE(backend);
  for (const char* name : {"smollm2-135m:q4_1", "smollm2-135m:q8_0"}) {
    const ModelSizes packed = sizes_of(name), plain = sizes_of(name, {.repack = false});
    for (size_t i = 0; i < packed.blocks.size(); ++i) {
      EXPECT_GE(packed.blocks[i].cpu_bytes, plain.blocks[i].file_bytes * 99 / 100);
      EXPECT_LE(packed.blocks[i].cpu_bytes, plain.blocks[i].file_bytes * 105 / 100);
    }
  }
}

TEST(ModelSizes, OfActivationsAreThoseThatAreAllocated) {
  const auto layout = MemoryFile::of_layout(RandomModelSpec::parse("qwen3-30b-a3b:q4_k_m").value());
  const auto file = GgufFile::open(layout->path());
  auto config = read_config(*file);
  ASSERT_TRUE(config);
  const auto sizes = model_sizes(*file, *config, {});
  config->vocab = int(file->find_tensor("token_embd.weight")->size[1]);
  const auto backend = open_backend("cpu", 1);
  for (const int rows : {64, 512, 2048}) {
    const auto activations = Activations::create(*config, **backend, rows);
    ASSERT_TRUE(activations);
    const uint64_t counted = sizes->activation_fixed_bytes + uint64_t(rows) * sizes->activation_row_bytes;
    EXPECT_GE(counted, activations->bytes());
    EXPECT_LE(double(counted), 1.2 * double(activations->bytes()));
    EXPECT_EQ(activations->bytes(), Activations::bytes_for(*config, rows, activations->output_rows()));
  }
}

TEST(ModelSizes, CutBlocksIntoSlicesThatCanBeCopiedPieceByPiece) {
  for (const char* name : {"llama3.1-405b:q4_k_m", "llama3.1-8b:q8_0", "smollm2-135m:q4_1"})
    for (const Block& block : sizes_of(name).blocks) {
      if (block.kind == BlockKind::kEmbedding) continue;
      EXPECT_LE(block.gpu_bytes / uint64_t(block.slices), (uint64_t{32} << 20) + block.gpu_bytes / 100) << name;
    }
}

}  // namespace
}  // namespace metallic
