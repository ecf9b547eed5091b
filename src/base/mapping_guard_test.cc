// A mapped file that shrinks: an error, not a dead process.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/mapped_file.h"

namespace metallic {
namespace {

class MappingGuardTest : public testing::Test {
 protected:
  MappingGuardTest() {
    path_ = std::filesystem::temp_directory_path() / ("metallic_mapping_guard_test_" + std::to_string(::getpid()));
    fill(8);
  }
  ~MappingGuardTest() override { std::filesystem::remove(path_); }

  void fill(size_t pages) { std::ofstream(path_) << std::string(pages * page_, 'x'); }
  void truncate(size_t bytes) { std::filesystem::resize_file(path_, bytes); }
  static char read(const MappedFile& file, size_t at) {
    return static_cast<const volatile char&>(reinterpret_cast<const char*>(file.bytes().data())[at]);
  }

  const size_t page_ = size_t(::sysconf(_SC_PAGESIZE));
  std::filesystem::path path_;
};

TEST_F(MappingGuardTest, WhatIsCutOffReadsAsZeroAndIsReported) {
  auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->check_intact());
  truncate(3 * page_);
  EXPECT_EQ(read(*file, 3 * page_ - 1), 'x');
  EXPECT_EQ(read(*file, 5 * page_ + 7), 0);
  EXPECT_EQ(read(*file, 8 * page_ - 1), 0);
  EXPECT_EQ(read(*file, 3 * page_), 0);
  const Status status = file->check_intact();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_TRUE(status.error().message.starts_with(path_.string() + ": at byte " + std::to_string(3 * page_) + ": "));
  fill(8);
  EXPECT_FALSE(file->check_intact()) << "zeros have been read";
  EXPECT_TRUE(MappedFile::open(path_)->check_intact());
}

TEST_F(MappingGuardTest, ACutInsideThePageIsReportedToo) {
  auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  truncate(8 * page_ - 1);
  EXPECT_FALSE(file->check_intact());
}

TEST_F(MappingGuardTest, OtherMappingsAndMovedOnesStayWatched) {
  auto first = MappedFile::open(path_);
  auto second = MappedFile::open(path_);
  ASSERT_TRUE(first && second);
  const MappedFile moved = std::move(*second);
  truncate(page_);
  std::thread([&] { EXPECT_EQ(read(moved, 4 * page_), 0); }).join();
  EXPECT_FALSE(moved.check_intact());
  EXPECT_EQ(read(*first, 0), 'x');
  EXPECT_EQ(read(*first, page_), 0);
}

TEST_F(MappingGuardTest, ABusErrorElsewhereStillEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto file = MappedFile::open(path_);
        const int fd = ::memfd_create("unwatched", 0);
        const volatile char* unwatched = static_cast<char*>(::mmap(nullptr, page_, PROT_READ, MAP_PRIVATE, fd, 0));
        ::_exit(unwatched[0]);
      },
      "");
}

}  // namespace
}  // namespace metallic
