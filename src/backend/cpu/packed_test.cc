// When the cpu backend lets go of the bytes that a weight was packed from.
#include "backend/test_support.h"

namespace metallic::cpu {
namespace {

using testing::blank;
using testing::Buffer;
using testing::Random;
using testing::upload;

struct Case {
  std::shared_ptr<Backend> backend;
  std::shared_ptr<std::vector<uint8_t>> bytes;
  Weight weight;
  std::weak_ptr<const void> alive;

  explicit Case(bool repack, Format format = Format::kQ4_0) {
    backend = make_cpu_backend({.threads = 2, .repack = repack}).value();
    bytes = std::make_shared<std::vector<uint8_t>>(Random(1).blocks(format, kRows * kColumns));
    const TensorView view = TensorView::dense(bytes->data(), format, {kRows, kColumns});
    weight = backend->load_weight(view, bytes).value();
    alive = bytes;
    bytes.reset();
  }
  void use() {
    const Buffer x = upload(*backend, Random(2).floats(kColumns), {1, kColumns}), out = blank(*backend, {1, kRows});
    const LinearTarget target{&weight, nullptr, out.view, false};
    backend->linear({x.view, {&target, 1}});
  }
  static constexpr int64_t kRows = 70, kColumns = 256;
};

TEST(PackedWeight, TheSecondUseLetsGoOfTheBytesItWasPackedFrom) {
  Case packed(true);
  EXPECT_FALSE(packed.alive.expired());
  packed.use();
  EXPECT_FALSE(packed.alive.expired());
  packed.use();
  EXPECT_TRUE(packed.alive.expired());
  packed.use();
}

TEST(PackedWeight, WithoutRepackingTheBytesAreKept) {
  Case plain(false);
  for (int i = 0; i < 3; ++i) plain.use();
  EXPECT_FALSE(plain.alive.expired());
}

TEST(PackedWeight, AFormatWithoutPanelsKeepsItsBytes) {
  Case plain(true, Format::kQ8_K);
  for (int i = 0; i < 3; ++i) plain.use();
  EXPECT_FALSE(plain.alive.expired());
}

// As src/memory/ multiplies by rows that come and go.
TEST(PackedWeight, RowsThatNobodyLoadedGiveTheSameBits) {
  for (const Format format : {Format::kQ4_0, Format::kQ6_K, Format::kIQ2_S, Format::kQ8_K})
    for (const int64_t tokens : {1, 40}) {
      Case loaded(true, format);
      Weight rows;
      rows.view = loaded.weight.view;
      Backend& backend = *loaded.backend;
      const Buffer x = upload(backend, Random(2).floats(tokens * Case::kColumns), {tokens, Case::kColumns});
      std::vector<std::vector<float>> results;
      for (const Weight* weight : {&rows, &loaded.weight}) {
        const Buffer out = blank(backend, {tokens, Case::kRows});
        const LinearTarget target{weight, nullptr, out.view, false};
        backend.linear({x.view, {&target, 1}});
        results.push_back(testing::download(backend, out));
      }
      EXPECT_TRUE(testing::same_bits(results[0], results[1])) << format_info(format).name << ", " << tokens;
    }
}

}  // namespace
}  // namespace metallic::cpu
