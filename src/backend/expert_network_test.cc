// A network of experts in one operation gives the bits of its operations one after the other, on every backend.
#include <array>
#include <cstring>

#include "backend/test_support.h"

namespace metallic {
namespace {

using testing::blank;
using testing::Buffer;
using testing::download;
using testing::load_weight;
using testing::Random;
using testing::upload;

class ExpertNetwork : public testing::InstructionSetTest {};
METALLIC_FOR_EACH_BACKEND(ExpertNetwork);

constexpr int kExperts = 4, kUsed = 2;
constexpr int64_t kColumns = 256, kInner = 256;

struct Part {
  std::vector<Weight> experts;
  Buffer bias;

  Part(Backend& on, Random& random, Format format, int64_t rows, int64_t columns)
      : bias(upload(on, random.floats(kExperts * rows))) {
    for (int i = 0; i < kExperts; ++i)
      experts.push_back(load_weight(on, format, random.blocks(format, rows * columns), rows, columns));
  }
};

// By the operation, or by its parts.
std::vector<float> run(Backend& on, std::array<Format, 3> formats, int64_t rows, bool gated, bool whole) {
  Random random(7);
  const Part gate(on, random, formats[0], kInner, kColumns), up(on, random, formats[1], kInner, kColumns),
      down(on, random, formats[2], kColumns, kInner);
  std::vector<float> choice(size_t(rows * kUsed));  // the bits of numbers
  for (size_t i = 0; i < choice.size(); ++i) {
    const int32_t id = int32_t(i * 7 + i / 3) % kExperts;
    std::memcpy(&choice[i], &id, sizeof(id));
  }
  const Buffer x = upload(on, random.floats(rows * kColumns), {rows, kColumns}), ids = upload(on, choice);
  const Buffer a = blank(on, {rows * kUsed, kInner}), b = blank(on, {rows * kUsed, kInner}),
               out = blank(on, {rows * kUsed, kColumns});
  const auto* chosen = static_cast<const int32_t*>(ids.view.data);
  const auto part = [&](const Part& p, const Buffer& from, const Buffer& to) {
    return ExpertsOp{from.view, p.experts, p.bias.floats(), chosen, int32_t(rows), kUsed, to.view};
  };
  ExpertNetworkOp op = {
      part(gate, x, a), part(up, x, b), {Activation::kSilu, a.view, b.view, a.view}, part(down, a, out)};
  if (!gated) {
    op.gate.experts = {};
    op.activate = {Activation::kGelu, b.view, {}, a.view};
  }
  if (whole) {
    on.expert_network(op);
  } else {
    if (gated) on.experts(op.gate);
    on.experts(op.up);
    on.activate(op.activate);
    on.experts(op.down);
  }
  return download(on, out);
}

TEST_P(ExpertNetwork, GivesTheBitsOfItsParts) {
  const std::array<Format, 3> kinds[] = {{Format::kF32, Format::kF32, Format::kF32},
                                         {Format::kQ4_0, Format::kQ4_0, Format::kQ8_0},
                                         {Format::kQ4_K, Format::kQ4_K, Format::kQ6_K},
                                         {Format::kQ4_K, Format::kQ8_0, Format::kQ4_0},
                                         {Format::kBF16, Format::kBF16, Format::kBF16}};
  for (const auto& formats : kinds)
    for (const int64_t rows : {1, 7, 40})
      for (const bool gated : {true, false}) {
        SCOPED_TRACE(::testing::Message() << format_info(formats[0]).name << ", " << rows << " rows, gated " << gated);
        const std::shared_ptr<Backend> backend = open();
        const std::vector<float> parts = run(*backend, formats, rows, gated, false),
                                 whole = run(*backend, formats, rows, gated, true);
        ASSERT_EQ(parts.size(), size_t(rows * kUsed * kColumns));
        EXPECT_EQ(std::memcmp(parts.data(), whole.data(), parts.size() * sizeof(float)), 0);
        EXPECT_NE(parts.front(), 0.0f);
      }
}

}  // namespace
}  // namespace metallic
