// Pieces of a file through a ring: the right bytes in any order, and what happens when the file or the disk fails.
#include "memory/disk_ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "gguf/gguf_builder.h"
#include "memory/faulty_reader.h"

namespace metallic {
namespace {

using testing::FaultyReader;

// A file with one tensor of pseudo-random bytes.
class DiskRings : public ::testing::TestWithParam<const char*> {
 protected:
  static constexpr uint64_t kBytes = 300'000;

  void SetUp() override {
    if (!reader()) GTEST_SKIP() << "io_uring is not there or not permitted";
    GgufBytes header;
    header.header(1, 1).text("general.architecture", "none").tensor("t", {kBytes / 4}, 0, 0).pad(32);
    std::string bytes = header.str();
    const size_t begin = bytes.size();
    bytes.resize(begin + kBytes);
    std::mt19937 random(7);
    for (size_t i = begin; i < bytes.size(); ++i) bytes[i] = char(random());
    path_ = folder_.write("model.gguf", bytes);
    auto file = GgufFile::open(path_);
    ASSERT_TRUE(file) << file.error().message;
    file_ = std::make_shared<const GgufFile>(std::move(*file));
    tensor_ = file_->tensors()[0].offset;
    bytes_.assign(bytes.begin() + ptrdiff_t(tensor_), bytes.end());
  }

  std::unique_ptr<FileReader> reader() const {
    return std::string_view(GetParam()) == "threads" ? make_thread_reader(3) : make_uring_reader();
  }
  std::unique_ptr<DiskRing> ring(const std::vector<FilePiece>& pieces, uint64_t bytes,
                                 std::shared_ptr<FaultyReader::Faults> faults = nullptr) const {
    auto from = reader();
    if (faults) from = std::make_unique<FaultyReader>(std::move(from), std::move(faults));
    auto result = DiskRing::create(file_, pieces, bytes, std::move(from));
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
    return result ? std::move(*result) : nullptr;
  }
  std::vector<FilePiece> random_pieces(std::mt19937& random, uint64_t most) const {
    std::vector<FilePiece> pieces(1 + random() % 20);
    for (FilePiece& piece : pieces) {
      piece.bytes = 1 + random() % most;
      piece.offset = tensor_ + random() % (kBytes - piece.bytes + 1);
    }
    return pieces;
  }
  // Acquires a piece, looks at every byte, and lets it go.
  ::testing::AssertionResult right(DiskRing& from, const std::vector<FilePiece>& pieces, int piece) const {
    auto bytes = from.acquire(piece);
    if (!bytes) return ::testing::AssertionFailure() << bytes.error().message;
    const FilePiece& wanted = pieces[size_t(piece)];
    const bool same = std::memcmp(*bytes, bytes_.data() + (wanted.offset - tensor_), wanted.bytes) == 0;
    from.release(piece);
    if (!same) return ::testing::AssertionFailure() << "piece " << piece << " has other bytes than the file";
    return ::testing::AssertionSuccess();
  }

  TemporaryFolder folder_;
  std::string path_;
  std::shared_ptr<const GgufFile> file_;
  std::vector<char> bytes_;  // of the tensor
  uint64_t tensor_ = 0;
};
INSTANTIATE_TEST_SUITE_P(, DiskRings, ::testing::Values("uring", "threads"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(DiskRings, GiveTheBytesOfTheFileInTheirOrderAndInAnyOther) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto pieces = random_pieces(random, 1 + random() % 40'000);
    uint64_t least = 0;
    for (const FilePiece& piece : pieces) least = std::max(least, DiskRing::room_for(piece));
    const auto from = ring(pieces, seed % 3 == 0 ? least : least + random() % 200'000);
    ASSERT_TRUE(from);
    for (int round = 0; round < 3; ++round)
      for (size_t i = 0; i < pieces.size(); ++i) ASSERT_TRUE(right(*from, pieces, int(i))) << round;
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(right(*from, pieces, int(random() % pieces.size())));
  }
}

TEST_P(DiskRings, GoOnAfterShortAndInterruptedReads) {
  std::mt19937 random(3);
  const auto pieces = random_pieces(random, 60'000);
  auto faults = std::make_shared<FaultyReader::Faults>();
  faults->shorten = 8192;
  faults->interrupt_each = 3;
  const auto from = ring(pieces, 150'000, faults);
  for (int round = 0; round < 3; ++round)
    for (size_t i = 0; i < pieces.size(); ++i) ASSERT_TRUE(right(*from, pieces, int(i)));
}

TEST_P(DiskRings, ReportAFailedReadAndWorkAgain) {
  for (int64_t at = 0; at < 30; ++at) {
    SCOPED_TRACE(at);
    std::mt19937 random(5);
    const auto pieces = random_pieces(random, 60'000);
    auto faults = std::make_shared<FaultyReader::Faults>();
    faults->fail_at = at;
    const auto from = ring(pieces, 150'000, faults);
    int failures = 0;
    for (int use = 0; use < 60 && failures == 0; ++use) {
      auto bytes = from->acquire(use % int(pieces.size()));
      if (bytes) {
        from->release(use % int(pieces.size()));
        continue;
      }
      ++failures;
      EXPECT_EQ(bytes.error().code, ErrorCode::kIo);
      EXPECT_NE(bytes.error().message.find(path_ + ": reading"), std::string::npos) << bytes.error().message;
      EXPECT_NE(bytes.error().message.find("Input/output error"), std::string::npos) << bytes.error().message;
    }
    EXPECT_EQ(failures, 1);
    for (size_t i = 0; i < pieces.size(); ++i) ASSERT_TRUE(right(*from, pieces, int(i)));
  }
}

TEST_P(DiskRings, SayThatTheFileWasCutShort) {
  const std::vector<FilePiece> pieces = {{0, tensor_, 20'000}, {0, tensor_ + 250'000, 20'000}};
  const auto from = ring(pieces, 40'960);
  ASSERT_TRUE(right(*from, pieces, 0));
  ASSERT_EQ(::truncate(path_.c_str(), 100'000), 0);
  std::string message;
  for (int use = 1; use < 5 && message.empty(); ++use) {
    const auto bytes = from->acquire(use % 2);
    if (!bytes)
      message = bytes.error().message;
    else
      from->release(use % 2);
  }
  EXPECT_NE(message.find(path_), std::string::npos) << message;
  EXPECT_TRUE(message.find("cut short") != std::string::npos || message.find("bytes long and is") != std::string::npos)
      << message;
}

TEST_P(DiskRings, SayThatTheFileWasChanged) {
  const std::vector<FilePiece> pieces = {{0, tensor_, 20'000}, {0, tensor_ + 250'000, 20'000}};
  const auto from = ring(pieces, 40'960);
  ASSERT_TRUE(right(*from, pieces, 0));
  ASSERT_TRUE(right(*from, pieces, 1));
  const timespec times[2] = {{1, 0}, {1, 0}};  // a write that leaves the length
  ASSERT_EQ(::utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
  const auto bytes = from->acquire(0);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().message, path_ + ": the file was changed while its weights are in use; load it again");
}

TEST_P(DiskRings, ReadOnWhenTheFileHasLostItsName) {
  const std::vector<FilePiece> pieces = {{0, tensor_, 20'000}, {0, tensor_ + 250'000, 20'000}};
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  const auto from = ring(pieces, 40'960);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(right(*from, pieces, i % 2));
}

TEST_P(DiskRings, CanBeLeftAtAnyTime) {
  std::mt19937 random(11);
  for (int uses = 0; uses < 20; ++uses) {
    const auto pieces = random_pieces(random, 60'000);
    const auto from = ring(pieces, 150'000);
    for (int use = 0; use < uses; ++use) ASSERT_TRUE(right(*from, pieces, use % int(pieces.size())));
    if (uses % 2 == 0) {
      EXPECT_TRUE(from->acquire(0).has_value());  // and never released
    }
  }
}

TEST_P(DiskRings, SmallerThanTheirLargestPieceAreRefused) {
  const auto refused = DiskRing::create(file_, {{0, tensor_, 20'000}}, 16'384, reader());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(refused.error().message, path_ + ": a ring of 16384 bytes cannot hold the largest piece, of " +
                                         std::to_string(DiskRing::room_for({0, tensor_, 20'000})));
}

}  // namespace
}  // namespace metallic
