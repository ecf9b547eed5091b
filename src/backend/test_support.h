// What the tests of backends share: data on a backend and back, random inputs, the instruction sets to try.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "quant/dequantize.h"

namespace metallic::testing {

// A dense tensor in a backend's memory.
struct Buffer {
  std::shared_ptr<void> memory;
  TensorView view;
  const float* floats() const { return static_cast<const float*>(view.data); }
};

inline Buffer blank(Backend& backend, const Shape& shape, Format format = Format::kF32) {
  std::shared_ptr<void> memory = backend.allocate(format_bytes(format, uint64_t(shape.elements())).value_or(0)).value();
  const TensorView view = TensorView::dense(memory.get(), format, shape);
  return {std::move(memory), view};
}

inline Buffer upload(Backend& backend, const std::vector<float>& values, const Shape& shape) {
  Buffer buffer = blank(backend, shape);
  EXPECT_EQ(int64_t(values.size()), shape.elements());
  backend.copy_from_host(buffer.view.data, values.data(), values.size() * sizeof(float));
  return buffer;
}

inline Buffer upload(Backend& backend, const std::vector<float>& values) {
  return upload(backend, values, {int64_t(values.size())});
}

inline std::vector<float> download(Backend& backend, const Buffer& buffer) {
  std::vector<float> values(size_t(buffer.view.shape.elements()));
  EXPECT_TRUE(backend.synchronize().has_value());
  backend.copy_to_host(values.data(), buffer.view.data, values.size() * sizeof(float));
  return values;
}

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  std::vector<float> floats(int64_t count, float lo = -1.0f, float hi = 1.0f) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = lo + (hi - lo) * unit();
    return values;
  }
  // Blocks of any bytes whose weights are finite and below 1e30.
  std::vector<uint8_t> blocks(Format format, int64_t elements) {
    const FormatInfo& info = format_info(format);
    std::vector<uint8_t> bytes(size_t(elements / info.block_elements * info.block_bytes));
    std::vector<float> weights(size_t(info.block_elements));
    for (size_t at = 0; at < bytes.size(); at += size_t(info.block_bytes)) {
      bool usable = false;
      while (!usable) {
        for (int i = 0; i < info.block_bytes; ++i) bytes[at + size_t(i)] = uint8_t(engine_());
        dequantize_function(format)(bytes.data() + at, info.block_elements, weights.data());
        usable = true;
        for (const float weight : weights) usable = usable && std::abs(weight) < 1e30f;
      }
    }
    return bytes;
  }
  // 0, 1, ... in a random order
  std::vector<int32_t> shuffled(int32_t count) {
    std::vector<int32_t> order(static_cast<size_t>(count));
    for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[engine_() % i]);
    return order;
  }

 private:
  float unit() { return float(engine_() >> 8) * 0x1p-24f; }
  std::mt19937 engine_;
};

// A weight whose bytes lie in the backend's memory.
inline Weight load_weight(Backend& backend, Format format, const std::vector<uint8_t>& bytes, int64_t rows,
                          int64_t columns) {
  auto host = std::make_shared<std::vector<uint8_t>>(bytes);
  const TensorView view = TensorView::dense(host->data(), format, {rows, columns});
  return backend.load_weight(view, host).value();
}

inline std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const cpu::Kernels* kernels : cpu::available_kernels()) names.emplace_back(kernels->name);
  return names;
}

// Why tests on a backend cannot run here (no GPU, say); empty if they can.
inline const std::string& why_absent(const std::string& backend) {
  static std::map<std::string, std::string> reasons;
  const auto [found, added] = reasons.try_emplace(backend);
  if (added) {
    const auto opened = open_backend(backend, 1);
    if (!opened && opened.error().code == ErrorCode::kUnsupported) found->second = opened.error().message;
  }
  return found->second;
}
#define METALLIC_SKIP_IF_ABSENT(backend) \
  if (const std::string& why = ::metallic::testing::why_absent(backend); !why.empty()) GTEST_SKIP() << why

// Its name as part of the name of a test.
inline std::string test_name(std::string backend) {
  std::replace(backend.begin(), backend.end(), '-', '_');
  return backend;
}

// A test whose parameter is an instruction set of the cpu backend, or another backend that promises the same.
class InstructionSetTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (is_cuda()) METALLIC_SKIP_IF_ABSENT(GetParam());
  }
  bool is_cuda() const { return GetParam().starts_with("cuda"); }
  bool has_bfloats() const { return !is_cuda() && kernels().bfloat != nullptr; }  // for tokens of BF16 weights
  bool is_float32() const { return GetParam() != "cuda"; }  // which rounds activations to fewer bits
  std::shared_ptr<Backend> open(int threads = 2, bool repack = true) const {
    if (is_cuda()) return open_backend(GetParam(), threads).value();
    return make_cpu_backend({.threads = threads, .isa = GetParam(), .repack = repack}).value();
  }
  const cpu::Kernels& kernels() const { return **cpu::find_kernels(GetParam()); }
};

// The instruction sets, and what else was built of: "cuda", and "cuda-reproducible", which is exact.
inline std::vector<std::string> with_cuda(bool only_exact) {
  std::vector<std::string> names = instruction_sets();
  for (const std::string name : backend_names())
    if (name.starts_with("cuda") && (name != "cuda" || !only_exact)) names.push_back(name);
  return names;
}
#define METALLIC_FOR_EACH_OF(Suite, names)                      \
  INSTANTIATE_TEST_SUITE_P(, Suite, ::testing::ValuesIn(names), \
                           [](const auto& test) { return metallic::testing::test_name(test.param); })
#define METALLIC_FOR_EACH_INSTRUCTION_SET(Suite) METALLIC_FOR_EACH_OF(Suite, metallic::testing::instruction_sets())
#define METALLIC_FOR_EACH_BACKEND(Suite) METALLIC_FOR_EACH_OF(Suite, metallic::testing::with_cuda(false))
#define METALLIC_FOR_EACH_EXACT_BACKEND(Suite) METALLIC_FOR_EACH_OF(Suite, metallic::testing::with_cuda(true))

// Whether each element is within `relative` * |expected| + `absolute`; both NaN is right.
inline void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double relative,
                        double absolute) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_NEAR(actual[i], expected[i], relative * std::abs(double(expected[i])) + absolute) << "element " << i;
  }
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace metallic::testing
