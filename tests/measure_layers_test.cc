// How fast is no matter here: that rates are there, whatever a layer is made of.
#include "model/measure_layers.h"

#include <gtest/gtest.h>

#include <string>

#include "convert/convert.h"
#include "convert/test_folder.h"
#include "model/config.h"
#include "model/model_sizes.h"
#include "support/fake_device.h"

namespace metallic {
namespace {

struct Case {
  TestFolder folder;
  std::shared_ptr<const GgufFile> file;
  Config config;
  ModelSizes sizes;
  std::shared_ptr<Backend> backend = open_backend("cpu", 2).value();

  explicit Case(const std::string& name) {
    const std::string path = (folder.path() / "model.gguf").string();
    const auto summary = convert::convert_folder(METALLIC_SOURCE_DIR "/tests/data/architectures/" + name, path);
    EXPECT_TRUE(summary) << summary.error().message;
    file = std::make_shared<const GgufFile>(GgufFile::open(path).value());
    config = read_config(*file).value();
    sizes = model_sizes(*file, config, {}).value();
  }
};

class MeasuredLayers : public ::testing::TestWithParam<const char*> {};

TEST_P(MeasuredLayers, HaveRates) {
  const Case c(GetParam());
  const auto rates = measure_layers(c.backend, c.file, c.config, c.sizes);
  ASSERT_TRUE(rates) << rates.error().message;
  EXPECT_GT(rates->decode_bytes_per_second, 0);
  EXPECT_GT(rates->prompt_operations_per_second, 0);
  int loaded = 0;
  const auto products = measure_products(c.backend, c.file, c.config, c.sizes, [&] { ++loaded; });
  ASSERT_TRUE(products) << products.error().message;
  EXPECT_GT(*products, 0);
  EXPECT_EQ(loaded, 1);
}

INSTANTIATE_TEST_SUITE_P(Architectures, MeasuredLayers,
                         ::testing::Values("qwen2", "mixtral", "qwen2moe", "deepseek2-lite", "deepseek3",
                                           "stablelm-parallel"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

TEST(MeasuredLayersOfAFullDevice, SayThatMemoryIsShort) {
  const Case c("qwen2");
  const auto device = std::make_shared<testing::FakeDevice>();
  device->capacity = 4096;
  const auto rates = measure_layers(device, c.file, c.config, c.sizes);
  ASSERT_FALSE(rates);
  EXPECT_EQ(rates.error().code, ErrorCode::kOutOfMemory);
}

// Steps behind 512 positions cannot be measured; products can.
TEST(MeasuredLayersOfFewPositions, HaveProductsAlone) {
  const Case c("gpt2");
  EXPECT_EQ(measure_layers(c.backend, c.file, c.config, c.sizes)->decode_bytes_per_second, 0);
  EXPECT_GT(measure_products(c.backend, c.file, c.config, c.sizes, [] {}).value(), 0);
}

TEST(MeasuredLayersOfEncoders, HaveNone) {
  const Case c("bert");
  EXPECT_EQ(measure_layers(c.backend, c.file, c.config, c.sizes)->decode_bytes_per_second, 0);
  EXPECT_EQ(measure_products(c.backend, c.file, c.config, c.sizes, [] { ADD_FAILURE(); }).value(), 0);
}

}  // namespace
}  // namespace metallic
