// Every operation of the cpu backend, on every instruction set that runs here, against the reference on odd shapes.

#include "backend/test_support.h"

namespace metallic {
namespace {

using testing::blank;
using testing::Buffer;
using testing::download;
using testing::expect_near;
using testing::load_weight;
using testing::Random;
using testing::upload;

class Operations : public testing::InstructionSetTest {
 protected:
  // Runs the same thing on this backend and on the reference.
  template <class Run>
  void compare(double relative, double absolute, Run run) {
    const std::shared_ptr<Backend> backend = open(), reference = make_reference_backend(1);
    expect_near(run(*backend), run(*reference), relative, absolute);
  }
};
METALLIC_FOR_EACH_BACKEND(Operations);

struct LinearShape {
  int64_t tokens, rows, columns;
};

// In blocks for the quantised formats. A GPU has kernels for many tokens of their own.
std::vector<LinearShape> linear_shapes(Format format, bool gpu) {
  const int64_t block = format_info(format).block_elements;
  if (block > 1) {
    std::vector<LinearShape> shapes = {{1, 1, block},  {1, 37, block * 3}, {2, 8, block},     {7, 13, block * 2},
                                       {19, 67, 1280}, {33, 129, block},   {9, 33, block * 9}};
    if (gpu)  // a kernel for each range of tokens; blocks that share columns, and whose warps have several rows each
      shapes.insert(shapes.end(), {{140, 260, 1280},
                                   {400, 40, 512},
                                   {5, 9, 256},
                                   {8, 260, 1280},
                                   {11, 40, 19200},
                                   {16, 3000, 512},
                                   {13, 9100, 256},
                                   {6, 20, std::max<int64_t>(block, 128)}});
    return shapes;
  }
  std::vector<LinearShape> shapes = {{1, 1, 1}, {1, 19, 1025}, {6, 9, 1024}, {17, 5, 2053}, {5, 3, 0}, {0, 5, 8}};
  for (int64_t n = 1; n <= 17; ++n) shapes.push_back({n, 18 - n, n + 16});
  return shapes;
}

// Relative to the sum of |w||x|: a float sum of k terms in at least 4 lanes is wrong by a few sqrt(k) * 2^-24.
constexpr double kLinearTolerance = 3e-6;
// The cuda backend rounds activations to 8 bits of the largest of 32, or both factors to bfloat16.
constexpr double kRoundedTolerance = 1e-2;

// The scale that makes the largest code 127, and the least of five significant bits that makes it no more.
float full_scale(float most) { return most * (1.0f / 127.0f); }
float round_scale(float most) {
  int exponent = 0;
  const float fraction = std::frexp(full_scale(most), &exponent);
  return std::ldexp(std::ceil(fraction * 32), exponent - 5);
}

// Of 32 columns from `begin` on.
float largest(const std::vector<float>& x, size_t begin) {
  float most = 0;
  for (size_t i = begin; i < begin + 32; ++i) most = std::max(most, std::abs(x[i]));
  return most;
}

// The numbers that 8-bit codes stand for, 32 columns at a time.
std::vector<float> as_codes(const std::vector<float>& x, float (*scale_of)(float) = full_scale) {
  std::vector<float> result(x.size());
  for (size_t begin = 0; begin < x.size(); begin += 32) {
    const float scale = scale_of(largest(x, begin)), factor = scale > 0 ? 1 / scale : 0;
    for (size_t i = begin; i < begin + 32; ++i) result[i] = scale * std::nearbyint(x[i] * factor);
  }
  return result;
}

// And what they leave as codes again, in the groups that stand out of their row; on a processor.
std::vector<float> as_double_codes(const std::vector<float>& x, size_t columns) {
  std::vector<float> result = as_codes(x, round_scale), rest(x.size());
  for (size_t row = 0; row < x.size(); row += columns) {
    const double groups = double(columns / 32);
    const auto square = [&](size_t begin) { return std::pow(double(round_scale(largest(x, begin))), 2); };
    double sum = 0, squares = 0;
    for (size_t begin = row; begin < row + columns; begin += 32) {
      sum += round_scale(largest(x, begin));
      squares += square(begin);
    }
    const double much = std::max(squares / groups, 6 * (sum / groups) * (sum / groups));
    for (size_t begin = row; begin < row + columns; begin += 32)
      if (square(begin) > much)
        for (size_t i = begin; i < begin + 32; ++i) rest[i] = x[i] - result[i];
  }
  rest = as_codes(rest, round_scale);
  for (size_t i = 0; i < x.size(); ++i) result[i] += rest[i];
  return result;
}

struct LinearCase {
  Format format;
  LinearShape shape;
  std::vector<uint8_t> weights;
  std::vector<float> x, bias, before;
};

LinearCase linear_case(Format format, const LinearShape& s) {
  Random random(11);
  LinearCase c{format,
               s,
               random.blocks(format, s.rows * s.columns),
               random.floats(s.tokens * s.columns),
               random.floats(s.rows),
               random.floats(s.tokens * s.rows)};
  for (size_t i = 5; i < c.x.size(); i += 331) c.x[i] *= 20;  // groups that stand out
  return c;
}

std::vector<float> run_linear(Backend& on, const LinearCase& c, const std::vector<float>& x, Precision precision,
                              bool accumulate) {
  const Weight weight = load_weight(on, c.format, c.weights, c.shape.rows, c.shape.columns);
  const Buffer input = upload(on, x, {c.shape.tokens, c.shape.columns});
  const Buffer out = upload(on, c.before, {c.shape.tokens, c.shape.rows}), bias = upload(on, c.bias);
  const LinearTarget target{&weight, accumulate ? bias.floats() : nullptr, out.view, accumulate, precision};
  on.linear({input.view, {&target, 1}});
  return download(on, out);
}

// |w||x| summed, for every output element; `in_codes`: what is lost of x depends on the largest of 32.
std::vector<double> linear_magnitudes(const LinearCase& c, double start, bool in_codes) {
  const LinearShape& s = c.shape;
  std::vector<double> x(c.x.begin(), c.x.end());
  for (size_t begin = 0; in_codes && begin + 32 <= x.size(); begin += 32) {
    double most = 0;
    for (size_t i = begin; i < begin + 32; ++i) most = std::max(most, std::abs(x[i]));
    for (size_t i = begin; i < begin + 32; ++i) x[i] = std::max(std::abs(x[i]), most / (2 * 127 * kRoundedTolerance));
  }
  std::vector<float> weights(size_t(s.rows * s.columns));
  dequantize_function(c.format)(c.weights.data(), s.rows * s.columns, weights.data());
  std::vector<double> sums;
  for (int64_t n = 0; n < s.tokens; ++n)
    for (int64_t m = 0; m < s.rows; ++m) {
      double sum = start;
      for (int64_t k = 0; k < s.columns; ++k)
        sum += std::abs(double(weights[size_t(m * s.columns + k)]) * x[size_t(n * s.columns + k)]);
      sums.push_back(sum);
    }
  return sums;
}

float as_bfloat16(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  bits += 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>(bits & 0xffff0000);
}

// Tokens of BF16 weights where the processor multiplies them in this format: rounded, or with what that left rounded
// too.
std::vector<float> as_bfloats(std::vector<float> x, bool two) {
  for (float& value : x) {
    const float first = as_bfloat16(value);
    value = two ? first + as_bfloat16(value - first) : first;
  }
  return x;
}

// Where tokens are taken as codes or in fewer bits, the reference gets the numbers that these stand for.
TEST_P(Operations, LinearOfEveryFormatIsWithinThreeMillionthsOfTheSumOfMagnitudes) {
  const std::shared_ptr<Backend> backend = open(), reference = make_reference_backend(2);
  for (const FormatInfo& info : all_formats())
    for (const LinearShape& s : linear_shapes(info.format, is_cuda())) {
      SCOPED_TRACE(info.name + Shape({s.tokens, s.rows, s.columns}).text());
      const LinearCase c = linear_case(info.format, s);
      for (const Precision precision : {Precision::kCodes, Precision::kDoubleCodes, Precision::kFloat}) {
        const bool in_codes = precision != Precision::kFloat && info.block_elements > 1 && !is_cuda();
        const bool in_bfloats = precision != Precision::kFloat && info.format == Format::kBF16 && has_bfloats();
        if (precision != Precision::kFloat && !in_codes && !in_bfloats) continue;  // the same as kFloat
        const std::vector<float> x = in_bfloats ? as_bfloats(c.x, precision == Precision::kDoubleCodes)
                                     : in_codes ? as_double_codes(c.x, size_t(s.columns))
                                                : c.x;
        for (const bool accumulate : {false, true}) {
          const std::vector<float> actual = run_linear(*backend, c, c.x, precision, accumulate);
          const std::vector<float> expected = run_linear(*reference, c, x, precision, accumulate);
          const std::vector<double> magnitudes =
              linear_magnitudes(c, accumulate ? 2.0 : 0.0, info.block_elements > 1 && !is_float32());
          for (size_t i = 0; i < expected.size(); ++i)
            ASSERT_NEAR(
                actual[i], expected[i],
                (is_float32() ? kLinearTolerance : kRoundedTolerance) * magnitudes[i] + 1e-38)  // where floats end
                << "token " << int64_t(i) / s.rows << " row " << int64_t(i) % s.rows << " precision " << int(precision);
        }
      }
    }
}

// A tolerance that a group of 32 weights left out would break; of more tokens than eight, which may also be taken in
// 16 bits, one that a few would.
TEST_P(Operations, LinearOfFewTokensTakesThemAsCodesOnAGpu) {
  if (GetParam() != "cuda") GTEST_SKIP() << "is about the kernels of a GPU that take codes";
  const std::shared_ptr<Backend> backend = open(), reference = make_reference_backend(4);
  for (const Format format : {Format::kQ4_0, Format::kQ4_1, Format::kQ5_0, Format::kQ5_1, Format::kQ8_0, Format::kQ4_K,
                              Format::kQ5_K, Format::kQ6_K})
    for (const int64_t tokens : {1, 2, 4, 5, 8, 9, 16})
      for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{260, 1280}, {40, 19200}, {2200, 1536}}) {
        SCOPED_TRACE(format_info(format).name + Shape({tokens, rows, columns}).text());
        LinearCase c = linear_case(format, {tokens, rows, columns});
        c.x = Random(12).floats(tokens * columns);
        const std::vector<float> actual = run_linear(*backend, c, c.x, Precision::kCodes, false);
        const std::vector<float> expected = run_linear(*reference, c, as_codes(c.x), Precision::kFloat, false);
        const std::vector<double> magnitudes = linear_magnitudes(c, 0, false);
        const double tolerance = tokens > 8 ? 4e-3 : 1e-3;
        for (size_t i = 0; i < expected.size(); ++i)
          ASSERT_NEAR(actual[i], expected[i], tolerance * magnitudes[i])
              << "token " << int64_t(i) / rows << " row " << int64_t(i) % rows;
      }
}

TEST_P(Operations, LinearIsTheSameWithPackedAndUnpackedWeights) {
  if (is_cuda()) GTEST_SKIP() << "weights on a GPU have one layout";
  const std::shared_ptr<Backend> packed = open(), unpacked = open(2, false);
  for (const FormatInfo& info : all_formats())
    for (const LinearShape& s : linear_shapes(info.format, is_cuda())) {
      SCOPED_TRACE(info.name + Shape({s.tokens, s.rows, s.columns}).text());
      const LinearCase c = linear_case(info.format, s);
      for (const Precision precision : {Precision::kCodes, Precision::kDoubleCodes})
        EXPECT_TRUE(testing::same_bits(run_linear(*packed, c, c.x, precision, true),
                                       run_linear(*unpacked, c, c.x, precision, true)));
    }
}

TEST_P(Operations, LinearOfTokensThatAreNoNumbersIsNoNumber) {
  const std::shared_ptr<Backend> backend = open();
  for (const float bad : {NAN, INFINITY, -INFINITY})
    for (const Precision precision : {Precision::kCodes, Precision::kDoubleCodes, Precision::kFloat}) {
      LinearCase c = linear_case(Format::kQ4_K, {3, 20, 512});
      c.x[512 + 77] = bad;
      const std::vector<float> out = run_linear(*backend, c, c.x, precision, false);
      for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isfinite(out[i]), i / 20 != 1) << i;
    }
}

TEST_P(Operations, LinearWithSeveralTargetsGivesEachItsOwn) {
  const double tolerance = is_float32() ? 1e-5 : 1e-2;
  for (const int64_t tokens : {1, 3, 40})
    compare(1e-5, tolerance, [&](Backend& on) {
      Random random(5);
      const int64_t columns = 96;
      // Of each 32 one is 127, so that rounding to 8 bits changes none.
      std::vector<float> whole = random.floats(tokens * columns);
      for (size_t i = 0; i < whole.size(); ++i)
        whole[i] = i % 32 == 9 ? 127.0f : std::nearbyint(std::clamp(40 * whole[i], -127.0f, 127.0f));
      const Buffer x = upload(on, whole, {tokens, columns});
      std::vector<Weight> weights;
      std::vector<Buffer> outs;
      std::vector<LinearTarget> targets;
      for (const int64_t rows : {70, 0, 5, 33}) {
        weights.push_back(load_weight(on, Format::kQ8_0, random.blocks(Format::kQ8_0, rows * columns), rows, columns));
        outs.push_back(blank(on, {tokens, rows}));
      }
      for (size_t i = 0; i < weights.size(); ++i) targets.push_back({&weights[i], nullptr, outs[i].view, false});
      on.linear({x.view, targets});
      std::vector<float> all;
      for (const Buffer& out : outs)
        for (const float value : download(on, out)) all.push_back(value);
      float largest = 0;
      for (const float value : all) largest = std::max(largest, std::abs(value));
      for (float& value : all) value /= largest;
      return all;
    });
}

TEST_P(Operations, LinearReadsAndWritesRowsOfAnyStride) {
  compare(1e-5, 1e-5, [](Backend& on) {
    Random random(6);
    const Buffer x = upload(on, random.floats(5 * 50), {5, 50}), out = blank(on, {5, 40});
    std::vector<uint8_t> bytes(31 * 33 * 4);
    const std::vector<float> values = random.floats(31 * 33);
    std::memcpy(bytes.data(), values.data(), bytes.size());
    const Weight weight = load_weight(on, Format::kF32, bytes, 31, 33);
    TensorView in = x.view, to = out.view;
    in.shape = {5, 33};
    to.shape = {5, 31};
    const LinearTarget target{&weight, nullptr, to, false};
    on.linear({in, {&target, 1}});
    return download(on, out);  // the other columns stay 0
  });
}

TEST_P(Operations, EmbedTakesTheRowsOfTheIds) {
  for (const Format format : {Format::kF32, Format::kF16, Format::kQ4_K, Format::kQ6_K, Format::kIQ4_NL})
    for (const float scale : {1.0f, 7.25f})
      compare(0, 0, [&](Backend& on) {
        Random random(8);
        const int64_t columns = format_info(format).block_elements * 2;
        const Weight weight = load_weight(on, format, random.blocks(format, 9 * columns), 9, columns);
        const std::vector<int32_t> ids = {8, 0, 3, 3, 7};
        const Buffer out = blank(on, {5, columns});
        on.embed({&weight, ids, scale, out.view});
        return download(on, out);
      });
}

TEST_P(Operations, NormsAgreeForEveryRemainder) {
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer})
    for (int64_t width = 1; width <= 70; width += width < 35 ? 1 : 17)
      for (const int vectors : {0, 1, 2})  // none, weight, weight and bias
        compare(5e-6, 2e-6, [&](Backend& on) {
          Random random{uint32_t(width)};
          const Buffer x = upload(on, random.floats(3 * 2 * width, -2.0f, 3.0f), {3, 2, width});
          const Buffer weight = upload(on, random.floats(width)), bias = upload(on, random.floats(width));
          const Buffer out = blank(on, {3, 2, width});
          on.norm({kind, 1e-5f, x.view, vectors > 0 ? weight.floats() : nullptr, vectors > 1 ? bias.floats() : nullptr,
                   out.view});
          return download(on, out);
        });
}

TEST_P(Operations, NormMayWriteOverItsInput) {
  compare(5e-6, 2e-6, [](Backend& on) {
    const Buffer x = upload(on, Random(4).floats(7 * 3 * 65), {7, 3, 65});
    on.norm({NormKind::kRms, 1e-6f, x.view, nullptr, nullptr, x.view});
    return download(on, x);
  });
}

TEST_P(Operations, RopeRotatesBothWays) {
  const std::vector<int32_t> positions = {0, 1, 1000, 131071, 5};
  for (const RopeStyle style : {RopeStyle::kInterleaved, RopeStyle::kHalves})
    for (const int64_t pairs : {1, 3, 8, 17, 32})
      for (const int64_t rest : {0, 6})  // columns that are not rotated
        compare(1e-6, 1e-6, [&](Backend& on) {
          const int64_t d = 2 * pairs + rest;
          const Buffer x = upload(on, Random(9).floats(5 * 3 * d), {5, 3, d});
          std::vector<float> frequencies(static_cast<size_t>(pairs));
          for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = std::pow(10000.0f, -float(i) / float(pairs));
          on.rope({x.view, positions.data(), frequencies, 1.125f, style});
          return download(on, x);
        });
}

TEST_P(Operations, RopeDoesNotMistakeOneTableForAnother) {
  compare(1e-6, 1e-6, [](Backend& on) {
    const Buffer x = upload(on, Random(9).floats(2 * 1 * 8), {2, 1, 8});
    for (int round = 0; round < 3; ++round)
      for (const float base : {1.0f, 0.5f, 0.25f, 0.1f, 0.05f, 0.01f}) {
        const std::vector<float> frequencies = {base, base / 2};
        const std::vector<int32_t> positions = {round, int32_t(100 * base)};
        on.rope({x.view, positions.data(), frequencies, 1.0f + base, RopeStyle::kHalves});
      }
    return download(on, x);
  });
}

TEST_P(Operations, ActivateMultipliesByTheFactor) {
  for (int kind = 0; kind <= int(Activation::kSigmoid); ++kind)
    for (const int64_t width : {1, 5, 16, 33, 5000})
      for (const bool gated : {false, true})
        compare(3e-6, 2e-7, [&](Backend& on) {
          Random random(12);
          const Buffer x = upload(on, random.floats(4 * width, -4.0f, 4.0f), {4, width});
          const Buffer factor = upload(on, random.floats(4 * width), {4, width}), out = blank(on, {4, width});
          on.activate({Activation(kind), x.view, gated ? factor.view : TensorView{}, out.view});
          return download(on, out);
        });
}

TEST_P(Operations, BinaryBroadcastsByStridesOfZero) {
  for (const BinaryKind kind : {BinaryKind::kAdd, BinaryKind::kMultiply})
    for (int repeated = 0; repeated < 16; ++repeated)
      compare(0, 0, [&](Backend& on) {
        Random random(13);
        const Shape shape{2, 3, 5, 19};
        const Buffer a = upload(on, random.floats(570), shape), b = upload(on, random.floats(570), shape);
        const Buffer out = blank(on, shape);
        TensorView left = a.view, right = b.view;
        for (int i = 0; i < 4; ++i) ((repeated >> i & 1) != 0 ? left : right).stride[size_t(i)] = 0;
        on.binary({kind, left, b.view, out.view});
        on.binary({kind, out.view, right, out.view});
        return download(on, out);
      });
}

TEST_P(Operations, SoftmaxOfEveryWidth) {
  for (int64_t width = 1; width <= 40; ++width)
    compare(2e-6, 1e-9, [&](Backend& on) {
      const Buffer x = upload(on, Random{uint32_t(width)}.floats(7 * width, -30.0f, 30.0f), {7, width});
      const Buffer out = blank(on, {7, width});
      on.softmax(x.view, out.view);
      return download(on, out);
    });
}

struct MatmulShape {
  int64_t b, c, n, k, m;
};

TEST_P(Operations, MatmulOfAnyStrides) {
  for (const MatmulShape& s : {MatmulShape{1, 1, 1, 1, 1},
                               {2, 3, 5, 7, 9},
                               {1, 2, 13, 300, 71},
                               {3, 1, 17, 1, 33},
                               {1, 1, 4, 0, 5},
                               {1, 1, 0, 4, 5},
                               {2, 2, 6, 64, 64}})
    for (const bool transposed : {false, true})
      compare(1e-5, 1e-4, [&](Backend& on) {
        Random random(14);
        const Buffer a = upload(on, random.floats(s.b * s.c * s.n * s.k), {s.b, s.c, s.n, s.k});
        const Buffer b = upload(on, random.floats(s.b * s.c * s.k * s.m), {s.b, s.c, s.k, s.m});
        const Buffer out = blank(on, {s.b, s.c, s.n, s.m});
        TensorView left = a.view, right = b.view;
        if (transposed) {
          left.stride[2] = 4;
          left.stride[3] = 4 * s.n;
          right.stride[2] = 4;
          right.stride[3] = 4 * s.k;
          left.stride[1] = 0;  // one matrix for all of that dimension
        }
        on.matmul(left, right, out.view);
        return download(on, out);
      });
}

TEST_P(Operations, CopyConvertsStridedViews) {
  for (const Format to : {Format::kF32, Format::kF16, Format::kBF16})
    compare(0, 0, [&](Backend& on) {
      const Shape shape{3, 5, 2, 17};
      const Buffer x = upload(on, Random(15).floats(510), shape), half = blank(on, shape, to);
      const Buffer out = blank(on, {17, 5, 2, 3});
      on.copy(x.view, half.view);
      TensorView turned = half.view;
      turned.shape = {17, 5, 2, 3};
      std::swap(turned.stride[0], turned.stride[3]);
      on.copy(turned, out.view);
      return download(on, out);
    });
}

TEST_P(Operations, RandomUniformGivesTheBitsOfTheReference) {
  for (const int64_t count : {1, 17, 1000, 100003})
    for (const float hi : {1.0f, -2.9999f, 1e10f}) {
      const std::shared_ptr<Backend> backend = open(3), reference = make_reference_backend(1);
      const Buffer a = blank(*backend, {count}), b = blank(*reference, {count});
      backend->random_uniform(a.view, -3.0f, hi, 99);
      reference->random_uniform(b.view, -3.0f, hi, 99);
      EXPECT_TRUE(testing::same_bits(download(*backend, a), download(*reference, b))) << count;
      for (const float value : download(*backend, a)) {
        ASSERT_GE(value, -3.0f);
        ASSERT_LT(value, hi);
      }
    }
}

}  // namespace
}  // namespace metallic
