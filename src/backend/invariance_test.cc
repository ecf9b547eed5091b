// The promise of the cpu backend and of cuda-reproducible: the same bits for any number of threads, and for a row
// whatever else is in the batch.
#include <functional>

#include "backend/paged_case.h"

namespace metallic {
namespace {

using testing::blank;
using testing::Buffer;
using testing::download;
using testing::load_weight;
using testing::PagedCase;
using testing::PagedShape;
using testing::Random;
using testing::same_bits;
using testing::upload;

class Invariance : public testing::InstructionSetTest {
 protected:
  // run(backend) gives the same bits with 1, 2, 3 and 7 threads.
  template <class Run>
  void expect_same_for_threads(Run run) {
    const std::vector<float> expected = run(*open(1));
    for (const int threads : {2, 3, 7}) EXPECT_TRUE(same_bits(run(*open(threads)), expected)) << threads << " threads";
  }
  // rows_of(backend, first, count) gives rows of a batch evaluated together; any of them alone or in another batch are
  // the same.
  template <class Run>
  void expect_same_for_batches(int64_t rows, Run rows_of) {
    const std::shared_ptr<Backend> backend = open(2);
    const std::vector<float> all = rows_of(*backend, int64_t(0), rows);
    const int64_t width = int64_t(all.size()) / rows;
    for (const int64_t count : {1, 2, 3, 5, 7, 16})
      for (int64_t first = 0; first + count <= rows; first += count + 2) {
        const std::vector<float> expected(all.begin() + first * width, all.begin() + (first + count) * width);
        EXPECT_TRUE(same_bits(rows_of(*backend, first, count), expected)) << "rows " << first << " + " << count;
      }
  }
};
METALLIC_FOR_EACH_EXACT_BACKEND(Invariance);

// Rows [first, first + count) of a (rows, width) buffer.
TensorView some_rows(const Buffer& buffer, int64_t first, int64_t count) {
  TensorView view = buffer.view;
  view.data = static_cast<char*>(view.data) + first * view.stride[0];
  view.shape.size[0] = count;
  return view;
}

struct LinearInput {
  Format format;
  int64_t rows, columns;
};

TEST_P(Invariance, Linear) {
  for (const LinearInput& in : {LinearInput{Format::kF32, 75, 1100}, LinearInput{Format::kF32, 64, 2048},
                                LinearInput{Format::kF16, 33, 2051}, LinearInput{Format::kQ4_0, 131, 2080},
                                LinearInput{Format::kQ4_1, 300, 576}, LinearInput{Format::kQ6_K, 65, 1280},
                                LinearInput{Format::kIQ4_XS, 40, 256}, LinearInput{Format::kBF16, 75, 1100},
                                LinearInput{Format::kBF16, 66, 2048}, LinearInput{Format::kF16, 66, 2048}}) {
    SCOPED_TRACE(format_info(in.format).name);
    constexpr int64_t kTokens = 41;
    Random random(31);
    const std::vector<uint8_t> bytes = random.blocks(in.format, in.rows * in.columns);
    const std::vector<float> values = random.floats(kTokens * in.columns), bias = random.floats(in.rows);
    const auto rows_of = [&](Backend& on, int64_t first, int64_t count) {
      const Weight weight = load_weight(on, in.format, bytes, in.rows, in.columns);
      const Buffer x = upload(on, values, {kTokens, in.columns}), out = blank(on, {count, in.rows});
      const Buffer offset = upload(on, bias);
      const LinearTarget targets[] = {{&weight, offset.floats(), out.view, false}, {&weight, nullptr, out.view, true}};
      on.linear({some_rows(x, first, count), {targets, 1}});
      on.linear({some_rows(x, first, count), {targets + 1, 1}});
      return download(on, out);
    };
    expect_same_for_batches(kTokens, rows_of);
    expect_same_for_threads([&](Backend& on) { return rows_of(on, 0, kTokens); });
    expect_same_for_threads([&](Backend& on) { return rows_of(on, 3, 1); });
  }
}

// The cpu backend packs a weight for good when it is used for the second time.
TEST_P(Invariance, LinearIsTheSameAtEveryUseOfAWeight) {
  for (const LinearInput& in : {LinearInput{Format::kQ4_0, 100, 96}, LinearInput{Format::kQ8_0, 47, 288},
                                LinearInput{Format::kQ4_K, 33, 512}, LinearInput{Format::kIQ2_S, 20, 256}})
    for (const int64_t tokens : {1, 9, 40}) {
      SCOPED_TRACE(format_info(in.format).name);
      Random random(33);
      const std::vector<uint8_t> bytes = random.blocks(in.format, in.rows * in.columns);
      const std::vector<float> values = random.floats(tokens * in.columns);
      const std::shared_ptr<Backend> backend = open(2);
      const Weight weight = load_weight(*backend, in.format, bytes, in.rows, in.columns);
      const Buffer x = upload(*backend, values, {tokens, in.columns});
      std::vector<float> first;
      for (int use = 0; use < 4; ++use) {
        const Buffer out = blank(*backend, {tokens, in.rows});
        const LinearTarget target{&weight, nullptr, out.view, false};
        backend->linear({x.view, {&target, 1}});
        if (use == 0) first = download(*backend, out);
        EXPECT_TRUE(same_bits(download(*backend, out), first)) << tokens << " tokens, use " << use;
      }
    }
}

std::vector<PagedShape> attention_shapes() {
  std::vector<PagedShape> shapes;
  for (const Format format : {Format::kF32, Format::kF16})
    for (const int32_t window : {0, 100, 700}) {
      shapes.push_back({{{590, 70}}, 16, 6, 2, 24, 24, window, true, format});
      shapes.push_back({{{0, 41}, {1030, 3}, {255, 2}}, 7, 4, 4, 19, 19, window, true, format});
    }
  return shapes;
}

TEST_P(Invariance, AttentionForThreads) {
  for (const PagedShape& shape : attention_shapes())
    expect_same_for_threads([&](Backend& on) {
      PagedCase paged(on, shape);
      return paged.attend(paged.sequences);
    });
}

TEST_P(Invariance, AttentionOfOneTokenForThreads) {
  const PagedShape shape{{{5000, 1}}, 32, 14, 2, 64, 64, 0, true, Format::kF16};
  expect_same_for_threads([&](Backend& on) {
    PagedCase paged(on, shape);
    return paged.attend(paged.sequences);
  });
}

// A prompt at once, in pieces, and token by token.
TEST_P(Invariance, AttentionForChunksOfAPrompt) {
  for (const PagedShape& shape : attention_shapes()) {
    const std::shared_ptr<Backend> backend = open(2);
    PagedCase paged(*backend, shape);
    const std::vector<float> whole = paged.attend(paged.sequences);
    for (const int32_t piece : {1, 2, 13}) {
      std::vector<BatchSequence> pieces;
      for (const BatchSequence& s : paged.sequences)
        for (int32_t row = 0; row < s.rows; row += piece)
          pieces.push_back({s.first_row + row, std::min(piece, s.rows - row), s.position + row, s.pages});
      EXPECT_TRUE(same_bits(paged.attend(pieces), whole)) << "in pieces of " << piece;
      for (const BatchSequence& one : pieces) paged.attend({&one, 1});
      EXPECT_TRUE(same_bits(download(*backend, paged.out), whole)) << "pieces of " << piece << " alone";
    }
  }
}

// Operations on rows of 1031 floats, enough of them that several threads take part.
TEST_P(Invariance, RowOperations) {
  constexpr int64_t kRows = 97, kWidth = 1031;
  const std::vector<float> values = Random(41).floats(kRows * kWidth, -3.0f, 3.0f);
  const std::vector<float> vector = Random(42).floats(kWidth);
  std::vector<int32_t> positions(kRows);
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = int32_t(i * i % 1000);
  const std::vector<float> frequencies = Random(43).floats(500, 0.0f, 1.0f);

  using Run = std::function<void(Backend&, const TensorView&, int64_t, const TensorView&)>;
  const auto three = [](TensorView view) {
    view.shape = {view.shape[0], 1, view.shape[1]};
    view.stride = {view.stride[0], 0, 4};
    return view;
  };
  std::vector<std::pair<const char*, Run>> operations;
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer})
    operations.emplace_back("norm", [=, &vector](Backend& on, const TensorView& x, int64_t, const TensorView& out) {
      const Buffer weight = upload(on, vector);
      on.norm({kind, 1e-6f, three(x), weight.floats(), weight.floats(), three(out)});
    });
  for (int kind = 0; kind <= int(Activation::kSigmoid); ++kind)
    operations.emplace_back("activate", [=](Backend& on, const TensorView& x, int64_t, const TensorView& out) {
      on.activate({Activation(kind), x, x, out});
    });
  for (const RopeStyle style : {RopeStyle::kInterleaved, RopeStyle::kHalves})
    operations.emplace_back(
        "rope", [=, &positions, &frequencies](Backend& on, const TensorView& x, int64_t first, const TensorView& out) {
          on.copy(x, out);
          on.rope({three(out), positions.data() + first, frequencies, 1.0f, style});
        });
  operations.emplace_back("softmax",
                          [](Backend& on, const TensorView& x, int64_t, const TensorView& out) { on.softmax(x, out); });
  operations.emplace_back("binary", [](Backend& on, const TensorView& x, int64_t, const TensorView& out) {
    on.binary({BinaryKind::kAdd, x, x, out});
  });
  operations.emplace_back("matmul", [&vector](Backend& on, const TensorView& x, int64_t, const TensorView& out) {
    const Buffer b = upload(on, Random(44).floats(kWidth * 200), {kWidth, 200});
    TensorView some = out;
    some.shape.size[1] = 200;
    on.matmul(x, b.view, some);
  });
  for (const auto& [name, run] : operations) {
    SCOPED_TRACE(name);
    const auto rows_of = [&, run = run](Backend& on, int64_t first, int64_t count) {
      const Buffer x = upload(on, values, {kRows, kWidth}), out = blank(on, {count, kWidth});
      run(on, some_rows(x, first, count), first, out.view);
      return download(on, out);
    };
    expect_same_for_batches(kRows, rows_of);
    expect_same_for_threads([&](Backend& on) { return rows_of(on, 0, kRows); });
  }
}

}  // namespace
}  // namespace metallic
