// Models whose keys have a few biases far above the others are warned of where the cache keeps few bits.
#include "engine/key_biases.h"

#include <gtest/gtest.h>

#include <cstring>

#include "support/golden.h"

namespace metallic {
namespace {

constexpr int kLayers = 3;  // of both tiny models

// The tiny qwen2 with biases of one block's keys that are all `usual`, but for one that is `outlier`.
std::optional<std::string> warning(float usual, float outlier, Format keys) {
  const testing::ChangedFile changed(testing::model_path("qwen2.gguf"), [&](GgufWriter&, auto& tensors) {
    for (auto& tensor : tensors) {
      if (tensor.name != "blk.1.attn_k.bias") continue;
      ASSERT_EQ(tensor.format, Format::kF32);
      std::vector<float> biases(tensor.data.size() / sizeof(float), usual);
      ASSERT_GT(biases.size(), 4u);
      biases[3] = -outlier;
      std::memcpy(tensor.data.data(), biases.data(), tensor.data.size());
    }
  });
  const auto file = GgufFile::open(changed.path());
  EXPECT_TRUE(file);
  return warning_of_key_biases(*file, kLayers, keys);
}

TEST(KeyBiases, OneFarAboveTheOthersIsWarnedOfWhereTheCacheHasFewBits) {
  for (const Format keys : {Format::kQ8_0, Format::kF8_E4M3, Format::kQ4_0}) {
    const auto text = warning(2, 100, keys);
    ASSERT_TRUE(text) << format_info(keys).name;
    EXPECT_NE(text->find(std::string("keys in ") + format_info(keys).name + ": a bias of block 1 is 100"),
              std::string::npos)
        << *text;
  }
  for (const Format keys : {Format::kF16, Format::kBF16, Format::kF32}) EXPECT_FALSE(warning(2, 100, keys));
}

TEST(KeyBiases, UsualOnesAreNot) {
  EXPECT_FALSE(warning(2, 31, Format::kQ8_0));
  EXPECT_FALSE(warning(0, 100, Format::kQ8_0));  // what the others are is not known
  const auto file = GgufFile::open(testing::model_path("llama-tied.gguf"));
  ASSERT_TRUE(file);
  EXPECT_FALSE(warning_of_key_biases(*file, kLayers, Format::kQ8_0));
}

}  // namespace
}  // namespace metallic
