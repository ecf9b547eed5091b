// Decoding takes no memory from the system: what a step needs is there after the first ones.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <numeric>

#include "model/forward.h"
#include "model/model.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void* take(std::size_t bytes) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes > 0 ? bytes : 1);
}
}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (void* memory = take(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new[](std::size_t bytes) { return ::operator new(bytes); }
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return take(bytes); }
[[gnu::noinline]] void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return take(bytes); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace metallic {
namespace {

class DecodeAllocations : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, DecodeAllocations, ::testing::Values("qwen2", "qwen3", "gemma3", "llama_linear"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(DecodeAllocations, AStepTakesNoMemoryAfterTheFirstOnes) {
  std::string name = GetParam();
  std::replace(name.begin(), name.end(), '_', '-');
  const std::string path = std::string(METALLIC_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf";
  const auto model = Model::load(path, open_backend("cpu", 2).value());
  ASSERT_TRUE(model) << model.error().message;
  constexpr int kPages = 4, kPageTokens = 16, kSequences = 2;
  auto decoder = Decoder::create((*model)->config(), (*model)->weights(), (*model)->backend(), 8, 32);
  ASSERT_TRUE(decoder) << decoder.error().message;
  auto cache = KvCache::create((*model)->config(), (*model)->backend(), kPages, kPageTokens, Format::kF16);
  ASSERT_TRUE(cache) << cache.error().message;
  std::vector<int32_t> pages(kPages);
  std::iota(pages.begin(), pages.end(), 0);

  Batch batch;
  for (int s = 0; s < kSequences; ++s) {
    batch.sequences.push_back({s, 1, 0, pages.data() + s * kPages / kSequences});
    batch.tokens.push_back(3 + s);
    batch.positions.push_back(0);
    batch.logit_rows.push_back(s);
  }
  std::vector<float> logits;
  Choices choices;
  const std::vector<SampleRow> greedy(kSequences);
  for (int position = 0; position < 24; ++position) {
    for (int s = 0; s < kSequences; ++s) {
      batch.sequences[size_t(s)].position = position;
      batch.positions[size_t(s)] = position;
    }
    // Two uses pack the weights (cpu/packed.h); a step of each kind before it counts.
    if (position == 4) counting = true;
    const Status status =
        position % 2 == 0 ? decoder->run(batch, *cache, logits) : decoder->choose(batch, *cache, greedy, choices);
    if (position == 23) counting = false;
    ASSERT_TRUE(status) << status.error().message;
  }
  counting = false;
  EXPECT_EQ(allocations.exchange(0), 0);
}

}  // namespace
}  // namespace metallic
