// Error passing, checked arithmetic, mapped files and the thread pool.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"

namespace metallic {
namespace {

Result<int> half_of(int value) {
  if (value % 2 != 0) return fail(ErrorCode::kInvalidArgument, "{} is odd", value);
  return value / 2;
}

Result<int> quarter_of(int value) {
  METALLIC_ASSIGN(const int half, half_of(value));
  METALLIC_TRY(half_of(half));
  return half / 2;
}

TEST(Result, CarriesAValueOrTheError) {
  EXPECT_EQ(*quarter_of(12), 3);
  ASSERT_FALSE(quarter_of(6));
  EXPECT_EQ(quarter_of(6).error().message, "3 is odd");
  EXPECT_EQ(Status(fail_while("opening x", quarter_of(6).error())).error().message, "opening x: 3 is odd");
}

TEST(Result, EveryErrorCodeIsInTheTable) {
  for (int code = 0; code <= int(ErrorCode::kInternal); ++code)
    EXPECT_EQ(error_code_info(ErrorCode(code)).code, ErrorCode(code));
}

TEST(CheckedMath, NoticesOverflow) {
  EXPECT_EQ(checked_multiply(1ull << 32, 1ull << 31), 1ull << 63);
  EXPECT_EQ(checked_multiply(1ull << 32, 1ull << 32), std::nullopt);
  EXPECT_EQ(checked_add(~0ull, 1), std::nullopt);
  EXPECT_EQ(checked_align(33, 32), 64u);
  EXPECT_EQ(checked_align(~0ull, 32), std::nullopt);
}

TEST(MappedFile, MapsARegularFileAndRefusesTheRest) {
  const std::string path = std::filesystem::temp_directory_path() / "metallic_mapped_file_test";
  std::ofstream(path) << "hello";
  auto file = MappedFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->bytes().size(), 5u);
  EXPECT_EQ(char(file->bytes()[4]), 'o');
  std::ofstream(path, std::ios::trunc).close();
  EXPECT_EQ(MappedFile::open(path).error().code, ErrorCode::kCorrupt);
  std::filesystem::remove(path);
  EXPECT_EQ(MappedFile::open(path).error().code, ErrorCode::kNotFound);
  EXPECT_NE(MappedFile::open("/").error().message.find("a directory"), std::string::npos);
  EXPECT_NE(MappedFile::open("/dev/zero").error().message.find("a device"), std::string::npos);
}

TEST(ThreadPool, EveryIndexIsDoneOnceForAnyTeamAndGrain) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 5, 64, 1001})
      for (int64_t grain : {1, 3, 16}) {
        std::vector<int> done(size_t(count), 0);
        pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
          EXPECT_EQ(begin % grain, 0);
          for (int64_t i = begin; i < end; ++i) ++done[size_t(i)];
        });
        EXPECT_EQ(std::accumulate(done.begin(), done.end(), int64_t(0)), count);
        EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](int times) { return times == 1; }));
      }
  }
}

TEST(ThreadPool, ManyShortJobsInARow) {
  ThreadPool pool(4);
  std::atomic<int64_t> sum = 0;
  for (int i = 0; i < 20000; ++i) pool.run([&](int thread, int) { sum += thread; });
  EXPECT_EQ(sum, 20000 * (1 + 2 + 3));
}

}  // namespace
}  // namespace metallic
