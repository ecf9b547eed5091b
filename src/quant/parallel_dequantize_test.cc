// Many threads against one: the same numbers for any size and any pool.
#include "quant/parallel_dequantize.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace metallic {
namespace {

std::vector<uint8_t> random_bytes(size_t count) {
  std::mt19937 engine(11);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = uint8_t(engine());
  return bytes;
}

TEST(ParallelDequantize, GivesTheBitsOfOneThreadForAnySizeAndPool) {
  for (const Format format : {Format::kQ8_0, Format::kQ4_K})
    for (const Format to : {Format::kF32, Format::kF16, Format::kBF16})
      for (const int64_t elements : {int64_t(0), int64_t(256), 2 * kWeightsWorthAThread - 256, 2 * kWeightsWorthAThread,
                                     2 * kWeightsWorthAThread + 256, 4 * kWeightsWorthAThread - 256}) {
        const std::vector<uint8_t> blocks = random_bytes(size_t(*format_bytes(format, uint64_t(elements))));
        std::vector<uint8_t> expected(size_t(*format_bytes(to, uint64_t(elements))));
        dequantize_function(format, to)(blocks.data(), elements, expected.data());
        for (const int threads : {1, 2, 3, 7}) {
          ThreadPool pool(threads);
          std::vector<uint8_t> actual(expected.size() + 8, 0xa5);
          parallel_dequantize(format, blocks.data(), elements, to, actual.data(), pool);
          for (size_t i = expected.size(); i < actual.size(); ++i) ASSERT_EQ(actual[i], 0xa5) << "past the end";
          actual.resize(expected.size());
          ASSERT_TRUE(actual == expected) << format_info(format).name << " to " << format_info(to).name << ", "
                                          << elements << " weights, " << threads << " threads";
        }
      }
}

}  // namespace
}  // namespace metallic
