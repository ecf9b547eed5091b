// Experts read on demand: the right bytes whoever was there before, and the ones used most stay.
#include "memory/expert_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "gguf/gguf_builder.h"
#include "memory/faulty_reader.h"

namespace metallic {
namespace {

using testing::FaultyReader;

class ExpertCaches : public ::testing::Test {
 protected:
  static constexpr int kExperts = 20;
  static constexpr uint64_t kExpert = 10'000;

  void SetUp() override {
    GgufBytes header;
    header.header(1, 1).text("general.architecture", "none").tensor("t", {kExperts * kExpert / 4}, 0, 0).pad(32);
    std::string bytes = header.str();
    const size_t begin = bytes.size();
    for (uint64_t i = 0; i < kExperts * kExpert; ++i) bytes += char(i / kExpert * 7 + i);
    auto file = GgufFile::open(folder_.write("model.gguf", bytes));
    ASSERT_TRUE(file) << file.error().message;
    file_ = std::make_shared<const GgufFile>(std::move(*file));
    bytes_ = bytes.substr(begin);
    for (int i = 0; i < kExperts; ++i) pieces_.push_back({0, begin + uint64_t(i) * kExpert, kExpert});
  }
  std::unique_ptr<ExpertCache> cache(uint64_t bytes, std::unique_ptr<FileReader> reader = make_file_reader()) {
    auto result = ExpertCache::create(file_, pieces_, bytes, std::move(reader));
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
    return result ? std::move(*result) : nullptr;
  }
  bool right(const ExpertCache& in, int piece) const {
    const std::byte* found = in.find(piece);
    return found != nullptr && std::memcmp(found, bytes_.data() + uint64_t(piece) * kExpert, kExpert) == 0;
  }

  TemporaryFolder folder_;
  std::shared_ptr<const GgufFile> file_;
  std::string bytes_;
  std::vector<FilePiece> pieces_;
};

TEST_F(ExpertCaches, HaveAllThatWasFetchedWithTheBytesOfTheFile) {
  std::mt19937 random(1);
  const auto in = cache(100'000);
  ASSERT_GE(in->slots(), 6u);
  std::vector<int> all(kExperts);
  for (int i = 0; i < kExperts; ++i) all[size_t(i)] = i;
  for (int round = 0; round < 300; ++round) {
    std::shuffle(all.begin(), all.end(), random);
    const std::span<const int> wanted(all.data(), 1 + random() % in->slots());
    ASSERT_TRUE(in->fetch(wanted));
    for (const int piece : wanted) ASSERT_TRUE(right(*in, piece)) << piece;
  }
}

// More than there is room for, in few fetches.
TEST_F(ExpertCaches, BringWhatIsExpectedInItsOrderAndManyAtATime) {
  const auto in = cache(130'000);
  ASSERT_LT(in->slots(), size_t(kExperts) / 2);
  std::vector<int> all(kExperts);
  for (int i = 0; i < kExperts; ++i) all[size_t(i)] = i;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(in->expect(all));
    int fetches = 0;
    for (const int piece : all) {
      fetches += in->find(piece) == nullptr;
      const auto bytes = in->bring(piece);
      ASSERT_TRUE(bytes);
      ASSERT_EQ(*bytes, in->find(piece));
      ASSERT_TRUE(right(*in, piece)) << piece;
    }
    EXPECT_LE(fetches, 2 * kExperts / int(in->slots()) + 1);
  }
  ASSERT_TRUE(in->bring(3));  // whether expected or not
  ASSERT_TRUE(in->expect({}));
  for (const int piece : {kExperts - 1, 0, kExperts / 2}) {
    ASSERT_TRUE(in->bring(piece));
    ASSERT_TRUE(right(*in, piece));
  }
}

TEST_F(ExpertCaches, KeepTheOnesThatAreUsedMost) {
  std::mt19937 random(2);
  const auto in = cache(100'000);
  for (int round = 0; round < 400; ++round) {
    const int hot = int(random() % 3), cold = 3 + int(random() % (kExperts - 3));
    ASSERT_TRUE(in->fetch(std::vector<int>{hot, cold}));
  }
  const uint64_t before = in->statistics().hits;
  for (int round = 0; round < 100; ++round) ASSERT_TRUE(in->fetch(std::vector<int>{round % 3, 3 + round % 17}));
  EXPECT_GE(in->statistics().hits - before, 100u);  // the hot ones every time
  EXPECT_EQ(in->statistics().hits + in->statistics().misses, 1000u);
}

TEST_F(ExpertCaches, ForgetWhatCouldNotBeReadAndWorkAgain) {
  for (int64_t at = 0; at < 8; ++at) {
    auto faults = std::make_shared<FaultyReader::Faults>();
    faults->fail_at = at;
    const auto in = cache(100'000, std::make_unique<FaultyReader>(make_file_reader(), faults));
    int failures = 0;
    for (int round = 0; round < 8; ++round) {
      const std::vector<int> wanted = {round, round + 1};
      const Status status = in->fetch(wanted);
      if (status) {
        for (const int piece : wanted) ASSERT_TRUE(right(*in, piece));
        continue;
      }
      ++failures;
      EXPECT_EQ(status.error().code, ErrorCode::kIo);
      ASSERT_TRUE(in->fetch(wanted));
      for (const int piece : wanted) ASSERT_TRUE(right(*in, piece));
    }
    EXPECT_EQ(failures, 1) << at;
  }
}

TEST_F(ExpertCaches, TooSmallForOneAreRefused) {
  const auto refused = ExpertCache::create(file_, pieces_, 9'000, make_file_reader());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(refused.error().message.find("9000 bytes for experts cannot hold the largest matrix of one"),
            std::string::npos);
}

}  // namespace
}  // namespace metallic
