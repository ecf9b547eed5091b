// Attention and the KV pages of the fast backends against the reference.
#include <numeric>

#include "backend/alibi.h"
#include "backend/kv_rows.h"
#include "backend/paged_case.h"
#include "base/float8.h"

namespace metallic {
namespace {

using testing::PagedCase;
using testing::PagedShape;

class Attention : public testing::InstructionSetTest {};
METALLIC_FOR_EACH_BACKEND(Attention);

std::vector<PagedShape> shapes() {
  std::vector<PagedShape> all;
  const auto add = [&](std::vector<testing::SequenceShape> sequences, int64_t page_tokens, int64_t heads,
                       int64_t kv_heads, int64_t d, int64_t dv) {
    for (const Format format : {Format::kF32, Format::kF16})
      for (const int32_t window : {0, 1, 7, 300})
        for (const bool causal : {true, false})
          all.push_back({sequences, page_tokens, heads, kv_heads, d, dv, window, causal, format});
  };
  add({{0, 1}}, 1, 1, 1, 1, 1);
  add({{0, 5}}, 4, 3, 3, 7, 7);
  add({{3, 2}, {0, 1}, {17, 9}}, 5, 6, 2, 19, 19);        // three query heads for each KV head
  add({{255, 2}, {256, 1}, {511, 3}}, 16, 7, 1, 33, 20);  // around the ends of chunks; dv is not d
  add({{0, 70}, {600, 1}}, 32, 8, 2, 64, 64);
  add({{1500, 1}}, 32, 8, 2, 64, 64);  // one row and many keys
  add({{700, 2}, {0, 1}}, 16, 16, 1, 256, 256);
  add({{1030, 1}, {5, 1}}, 32, 14, 2, 96, 96);
  add({{0, 40}}, 32, 40, 1, 16, 16);      // more query heads than an item takes
  for (const int64_t heads : {8, 6, 12})  // a power of two, and not; each with groups of one and of two
    for (const bool causal : {true, false})
      for (const int32_t window : {0, 40})
        for (const int64_t group : {1, 2})
          for (const Format format : {Format::kF32, Format::kF16})
            all.push_back({{{0, 70}, {300, 3}}, 16, heads, heads / group, 16, 16, window, causal, format, 8.0f});
  all.push_back({{{1500, 1}, {0, 1}}, 32, 24, 2, 64, 64, 0, true, Format::kF16, 8.0f});
  for (const Format format : kKvFormats) all.push_back({{{0, 5}, {300, 2}}, 16, 8, 2, 64, 32, 0, true, format});
  for (const Format format : {Format::kBF16, Format::kQ8_0, Format::kF8_E4M3})
    for (const int64_t d : {32, 64, 96, 256})
      all.push_back({{{0, 5}, {700, 2}, {1030, 1}}, 16, 6, 2, d, d, d == 64 ? 40 : 0, d != 96, format});
  return all;
}

TEST_P(Attention, AgreesWithTheReferenceOnEveryPageTableRatioAndWindow) {
  for (const PagedShape& shape : shapes()) {
    const std::shared_ptr<Backend> backend = open(3), reference = make_reference_backend(2);
    if (!backend->holds_kv(shape.format)) continue;
    PagedCase actual(*backend, shape), expected(*reference, shape);
    SCOPED_TRACE(::testing::Message() << shape.heads << "/" << shape.kv_heads << " heads of " << shape.d << ", window "
                                      << shape.window << ", causal " << shape.causal << ", "
                                      << format_info(shape.format).name << ", bias " << shape.alibi);
    const bool bfloats = has_bfloats() && shape.format != Format::kF32;
    testing::expect_near(actual.attend(actual.sequences), expected.attend(expected.sequences), 0,
                         bfloats        ? 2e-2
                         : is_float32() ? 4e-6
                                        : 4e-3);
    if (HasFatalFailure()) return;
  }
}

// Prompts have kernels of their own on a GPU: sequences that end within blocks and tiles, behind nothing and behind
// what the cache has (chunks of a prompt), in pages of several sizes.
TEST_P(Attention, AgreesWithTheReferenceForPrompts) {
  if (!is_cuda()) GTEST_SKIP() << "is about the kernels of a GPU";
  struct Heads {
    int64_t heads, kv_heads, d, page_tokens;
  };
  const std::shared_ptr<Backend> backend = open(1), reference = make_reference_backend(2);
  for (const Heads& h :
       {Heads{6, 2, 64, 32}, Heads{2, 1, 96, 16}, Heads{7, 1, 128, 32}, Heads{1, 1, 128, 5}, Heads{1, 1, 64, 128}})
    for (const std::vector<testing::SequenceShape>& sequences :
         {std::vector<testing::SequenceShape>{{0, 300}}, {{0, 65}, {333, 150}, {128, 1}, {250, 128}}})
      for (const int32_t window : {0, 40, 200})
        for (const bool causal : {true, false})
          for (const Format format : {Format::kF16, Format::kBF16, Format::kQ8_0, Format::kF8_E4M3}) {
            const PagedShape shape{sequences, h.page_tokens, h.heads, h.kv_heads, h.d, h.d, window, causal, format};
            double tolerance = format == Format::kBF16 ? 2e-2 : 4e-3;
            if (is_float32()) tolerance = 4e-6;
            PagedCase actual(*backend, shape), expected(*reference, shape);
            SCOPED_TRACE(::testing::Message()
                         << h.heads << " heads of " << h.d << ", " << sequences.size() << " sequences, window "
                         << window << ", causal " << causal << ", " << format_info(format).name);
            testing::expect_near(actual.attend(actual.sequences), expected.attend(expected.sequences), 0, tolerance);
            if (HasFatalFailure()) return;
          }
}

TEST_P(Attention, PromptsHaveSoftCapsAndSinks) {
  if (!is_cuda()) GTEST_SKIP() << "is about the kernels of a GPU";
  const std::shared_ptr<Backend> backend = open(1), reference = make_reference_backend(2);
  const std::vector<float> sinks = {-1.0f, 0.5f, 3.0f};
  for (const int64_t d : {64, 128, 256}) {
    const PagedShape shape{{{0, 130}, {70, 90}}, 32, 3, 3, d, d, 0, true, Format::kF16};
    const auto attend = [&](Backend& on) {
      const PagedCase paged(on, shape);
      const testing::Buffer on_device = testing::upload(on, sinks, {3});
      std::vector<float> all;
      for (const float softcap : {0.0f, 5.0f})
        for (const bool sink : {false, true}) {
          AttentionOp op = paged.op();
          op.softcap = softcap;
          if (sink) op.sinks = static_cast<const float*>(on_device.view.data);
          on.attention(op);
          const std::vector<float> out = testing::download(on, paged.out);
          all.insert(all.end(), out.begin(), out.end());
        }
      return all;
    };
    testing::expect_near(attend(*backend), attend(*reference), 0, is_float32() ? 4e-6 : 4e-3);
  }
}

// Of few sequences and of so many that other kernels are faster; on both sides and causal.
TEST_P(Attention, PromptsHaveLinearBiases) {
  if (!is_cuda()) GTEST_SKIP() << "is about the kernels of a GPU";
  const std::shared_ptr<Backend> backend = open(1), reference = make_reference_backend(2);
  const std::vector<testing::SequenceShape> few{{0, 130}, {70, 90}}, many(24, {30, 33});
  for (const int64_t d : {64, 96, 128, 256})
    for (const bool causal : {true, false})
      for (const int32_t window : {0, 40})
        for (const Format format : {Format::kF16, Format::kBF16, Format::kQ8_0, Format::kF8_E4M3})
          for (const auto& sequences : {few, many}) {
            const PagedShape shape{sequences, 32, 6, 3, d, d, window, causal, format, 8.0f};
            const double tolerance = is_float32() ? 1e-5 : format == Format::kBF16 ? 2e-2 : 4e-3;
            PagedCase actual(*backend, shape), expected(*reference, shape);
            SCOPED_TRACE(::testing::Message() << "heads of " << d << ", " << sequences.size() << " sequences, window "
                                              << window << ", causal " << causal << ", " << format_info(format).name);
            testing::expect_near(actual.attend(actual.sequences), expected.attend(expected.sequences), 0, tolerance);
            if (HasFatalFailure()) return;
          }
}

// (1 / 2)^(8 / n) and its powers for n heads; for other counts as MPT makes them: the 2nd, 4th ... slopes of the next
// power of two, then the 1st, 3rd ...
TEST(Alibi, SlopesAreThoseOfThePaperAndOfMptForAnyNumberOfHeads) {
  EXPECT_EQ(alibi_slope(8, 8, 0), 0.5f);
  EXPECT_EQ(alibi_slope(8, 8, 7), 1 / 256.0f);
  EXPECT_FLOAT_EQ(alibi_slope(8, 16, 0), std::sqrt(0.5f));
  EXPECT_FLOAT_EQ(alibi_slope(4, 4, 3), 1 / 16.0f);
  EXPECT_EQ(alibi_slope(8, 1, 0), 1 / 256.0f);
  for (const int64_t heads : {1, 2, 3, 5, 6, 7, 8, 12, 20, 33, 71, 112}) {
    int64_t power = 1;
    while (power < heads) power *= 2;
    std::vector<float> all, mpt;
    for (int64_t i = 1; i <= power; ++i) all.push_back(float(std::exp2(-8.0 * double(i) / double(power))));
    for (size_t i = 1; i < all.size() && power != heads; i += 2) mpt.push_back(all[i]);
    for (size_t i = 0; i < all.size(); i += power == heads ? 1 : 2) mpt.push_back(all[i]);
    for (int64_t head = 0; head < heads; ++head)
      EXPECT_FLOAT_EQ(alibi_slope(8, heads, head), mpt[size_t(head)]) << head << " of " << heads;
  }
}

// One head, equal scores: the weights are those of the distances alone.
TEST(Alibi, AQueryLosesSlopeTimesDistanceOnBothSides) {
  const std::shared_ptr<Backend> reference = make_reference_backend(1);
  const testing::Buffer query = testing::blank(*reference, {3, 1, 1}), out = testing::blank(*reference, {3, 1, 1}),
                        keys = testing::blank(*reference, {1, 1, 4, 1}),
                        values = testing::blank(*reference, {1, 1, 4, 1});
  const testing::Buffer rows = testing::upload(*reference, std::vector<float>{1, 0, 0}, {3, 1, 1});
  const int32_t table = 0;
  const BatchSequence sequence{0, 3, 0, &table};
  reference->store_kv({query.view, rows.view, keys.view, values.view, {&sequence, 1}});
  AttentionOp op{query.view, keys.view, values.view, out.view, {&sequence, 1}, 1.0f, 0, false};
  op.alibi = 1;  // a slope of 1/2
  reference->attention(op);
  const float e = std::exp(-0.5f);  // of a distance of one
  testing::expect_near(testing::download(*reference, out),
                       std::vector<float>{1 / (1 + e + e * e), e / (2 * e + 1), e * e / (1 + e + e * e)}, 0, 1e-6);
}

TEST_P(Attention, StoreKvWritesTheBytesOfTheReference) {
  for (const Format format : kKvFormats) {
    const int64_t block = format_info(format).block_elements;
    const PagedShape shape{{{0, 9}, {3, 4}},      4, 6,    3,     block > 1 ? 2 * block : 19,
                           block > 1 ? block : 5, 0, true, format};
    const std::shared_ptr<Backend> backend = open(3), reference = make_reference_backend(1);
    if (!backend->holds_kv(format)) continue;
    const PagedCase actual(*backend, shape), expected(*reference, shape);
    for (const auto& pages : {&PagedCase::keys, &PagedCase::values}) {
      const testing::Buffer &a = actual.*pages, &b = expected.*pages;
      const size_t bytes = *format_bytes(format, uint64_t(a.view.shape.elements()));
      std::vector<char> actual_bytes(bytes), expected_bytes(bytes);
      backend->copy_to_host(actual_bytes.data(), a.view.data, bytes);
      reference->copy_to_host(expected_bytes.data(), b.view.data, bytes);
      EXPECT_EQ(actual_bytes, expected_bytes);
    }
  }
}

TEST_P(Attention, AFormatOfPagesThatABackendLacksIsAnError) {
  if (!is_cuda()) GTEST_SKIP() << "the others have all";
  const std::shared_ptr<Backend> backend = open(1);
  const testing::Buffer rows = testing::blank(*backend, {1, 1, 32}),
                        pages = testing::blank(*backend, {1, 1, 4, 32}, Format::kQ5_1);
  const int32_t table = 0;
  const BatchSequence sequence{0, 1, 0, &table};
  backend->store_kv({rows.view, rows.view, pages.view, pages.view, {&sequence, 1}});
  const Status status = backend->synchronize();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("Q5_1"), std::string::npos) << status.error().message;
}

TEST(KvRows, ARowThatIsNoNumberReadsAsNoNumberInEveryFormat) {
  for (const Format format : kKvFormats) {
    std::vector<float> row(64, 1.0f), back(64);
    row[40] = NAN;
    std::vector<uint8_t> bytes(*format_bytes(format, 64));
    store_kv_row(format, row.data(), 64, bytes.data());
    dequantize_function(format)(bytes.data(), 64, back.data());
    EXPECT_TRUE(std::isnan(back[40])) << format_info(format).name;
  }
}

// All that a float can be, ties included, through the pages: by attention with one key, whose weight is 1.
TEST_P(Attention, F8_E4M3IsStoredAndReadAsTheReferenceDoes) {
  constexpr int64_t kWidth = 64, kRows = 40;
  const std::shared_ptr<Backend> backend = open(2), reference = make_reference_backend(1);
  std::vector<float> rows = testing::Random(5).floats(kRows * kWidth, -2.0f, 2.0f);
  for (size_t i = 0; i < 254; ++i) {  // both sides of the middle between neighbours, and the middle
    const uint8_t code = uint8_t(i < 127 ? i : i + 1);
    const float number = e4m3_to_float(code), next = e4m3_to_float(uint8_t(code % 128 == 126 ? code : code + 1));
    rows[4 * i] = number, rows[4 * i + 1] = (number + next) / 2;
    rows[4 * i + 2] = std::nextafterf(rows[4 * i + 1], 0.0f), rows[4 * i + 3] = std::nextafterf(rows[4 * i + 1], 1e9f);
  }
  const float extremes[] = {449.0f, -464.0f, 1e30f, -INFINITY, INFINITY, 1e-44f, -0x1p-10f, 0x1.8p-9f};
  std::copy(std::begin(extremes), std::end(extremes), rows.begin() + 4 * 254);
  const auto stored_and_read = [&](Backend& on, const std::vector<float>& value_rows) {
    const testing::Buffer key = testing::upload(on, rows, {kRows, 1, kWidth}),
                          value = testing::upload(on, value_rows, {kRows, 1, kWidth}),
                          query = testing::blank(on, {kRows, 1, kWidth}), out = testing::blank(on, {kRows, 1, kWidth}),
                          keys = testing::blank(on, {kRows, 1, 1, kWidth}, Format::kF8_E4M3),
                          values = testing::blank(on, {kRows, 1, 1, kWidth}, Format::kF8_E4M3);
    std::vector<int32_t> pages(kRows);
    std::iota(pages.rbegin(), pages.rend(), 0);
    std::vector<BatchSequence> sequences;
    for (int32_t i = 0; i < kRows; ++i) sequences.push_back({i, 1, 0, &pages[size_t(i)]});
    on.store_kv({key.view, value.view, keys.view, values.view, sequences});
    on.attention({query.view, keys.view, values.view, out.view, sequences, 1.0f, 0, true});
    std::vector<uint8_t> bytes(size_t(kRows * kWidth));
    on.copy_to_host(bytes.data(), values.view.data, bytes.size());
    EXPECT_TRUE(on.synchronize());
    return std::pair(bytes, testing::download(on, out));
  };
  const auto [expected_bytes, expected] = stored_and_read(*reference, rows);
  const auto [bytes, numbers] = stored_and_read(*backend, rows);
  EXPECT_EQ(bytes, expected_bytes);
  EXPECT_EQ(numbers, expected);
  for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(expected[i], e4m3_to_float(float_to_e4m3(rows[i]))) << rows[i];

  constexpr size_t kStrange = 3 * kWidth + 5;
  std::vector<float> with_nan = rows;
  with_nan[kStrange] = NAN;
  const auto [strange_bytes, strange] = stored_and_read(*backend, with_nan);
  constexpr size_t kItsPage = kRows - 1 - kStrange / kWidth;
  EXPECT_EQ(strange_bytes[kItsPage * kWidth + kStrange % kWidth] & 0x7f, 0x7f);
  for (size_t i = 0; i < rows.size(); ++i)
    if (i == kStrange)
      EXPECT_TRUE(std::isnan(strange[i])) << i;
    else
      EXPECT_EQ(strange[i], expected[i]) << i;
}

TEST_P(Attention, ScoresOfAnySizeGiveFiniteWeights) {
  const PagedShape shape{{{300, 3}}, 32, 2, 1, 8, 8, 0, true, Format::kF32};
  const std::shared_ptr<Backend> backend = open(1), reference = make_reference_backend(1);
  PagedCase actual(*backend, shape), expected(*reference, shape);
  const auto attend = [](Backend& on, PagedCase& paged) {
    AttentionOp op = paged.op();
    op.scale = 3000.0f;  // e^score is far out of range
    on.attention(op);
    return download(on, paged.out);
  };
  testing::expect_near(attend(*backend, actual), attend(*reference, expected), 0, 3e-3);
}

}  // namespace
}  // namespace metallic
