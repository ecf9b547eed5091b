#include "base/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace metallic {
namespace {

class Npy : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("metallic_npy_test." + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const char* name) const { return folder_ / name; }

  std::string content(const std::string& file) const {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // A version 1 file with this header text and these element bytes.
  std::string file_of(const std::string& header, const std::string& elements) const {
    const std::string length = {char(header.size() & 0xff), char(header.size() >> 8)};
    const std::string file = path("made.npy");
    std::ofstream(file, std::ios::binary) << "\x93NUMPY" << '\x01' << '\x00' << length << header << elements;
    return file;
  }

  std::filesystem::path folder_;
};

TEST_F(Npy, WritesTheBytesThatNumpyWrites) {
  const float values[] = {1.0f, -2.0f};
  const uint64_t shape[] = {1, 2};
  ASSERT_TRUE(write_npy<float>(path("a.npy"), shape, values));
  // numpy.save("a.npy", numpy.array([[1, -2]], numpy.float32))
  std::string expected("\x93NUMPY\x01\x00\x76\x00", 10);
  expected += "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  expected.resize(127, ' ');
  expected += '\n';
  expected += std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8);
  EXPECT_EQ(content(path("a.npy")), expected);
}

TEST_F(Npy, ReadsBackEveryTypeAndRank) {
  const auto check = [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> values = {T(1), T(-2), T(3), T(0), T(100), T(-128)};
    for (const std::vector<uint64_t>& shape :
         {std::vector<uint64_t>{6}, std::vector<uint64_t>{2, 3}, std::vector<uint64_t>{1, 3, 2, 1}}) {
      ASSERT_TRUE(write_npy<T>(path("a.npy"), shape, values));
      const auto array = read_npy(path("a.npy"));
      ASSERT_TRUE(array) << array.error().message;
      EXPECT_EQ(array->shape, shape);
      ASSERT_TRUE(array->template as<T>());
      EXPECT_TRUE(std::equal(values.begin(), values.end(), array->template as<T>()->begin()));
      EXPECT_EQ(array->template as<float>().has_value(), (std::is_same_v<T, float>));
    }
  };
  check(float());
  check(double());
  check(int8_t());
  check(int16_t());
  check(int32_t());
  check(int64_t());
}

TEST_F(Npy, ScalarsAndEmptyArraysAreArraysToo) {
  const double value = 0.5;
  ASSERT_TRUE(write_npy<double>(path("scalar.npy"), {}, {&value, 1}));
  ASSERT_TRUE(read_npy(path("scalar.npy"))->shape.empty());
  EXPECT_EQ((*read_npy(path("scalar.npy"))->as<double>())[0], 0.5);
  const uint64_t shape[] = {4, 0};
  ASSERT_TRUE(write_npy<float>(path("empty.npy"), shape, {}));
  EXPECT_EQ(read_npy(path("empty.npy"))->shape, (std::vector<uint64_t>{4, 0}));
}

TEST_F(Npy, TheFileAppearsOnlyWhenItIsFinished) {
  std::ofstream(path("a.npy")) << "before";
  const uint64_t shape[] = {2};
  const int32_t values[] = {1, 2};
  {
    auto abandoned = NpyWriter::create(path("a.npy"), NpyType::kInt32, shape);
    ASSERT_TRUE(abandoned);
    ASSERT_TRUE(abandoned->append(std::as_bytes(std::span(values, 1))));
    EXPECT_EQ(content(path("a.npy")), "before");
  }
  EXPECT_EQ(content(path("a.npy")), "before");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);

  auto writer = NpyWriter::create(path("a.npy"), NpyType::kInt32, shape);
  ASSERT_TRUE(writer->append(std::as_bytes(std::span(values, 1))));
  ASSERT_TRUE(writer->append(std::as_bytes(std::span(values + 1, 1))));
  ASSERT_TRUE(writer->finish());
  EXPECT_EQ((*read_npy(path("a.npy"))->as<int32_t>())[1], 2);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(Npy, WritingWhereNothingCanBeWrittenIsAnErrorThatNamesThePath) {
  const auto missing = NpyWriter::create(path("no/such/folder.npy"), NpyType::kInt8, {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("no/such/folder.npy"), std::string::npos);
  EXPECT_NE(NpyWriter::create(folder_, NpyType::kInt8, {}).error().message.find("is a directory"), std::string::npos);
  const uint64_t shape[] = {1ull << 40, 1ull << 40};
  EXPECT_EQ(NpyWriter::create(path("huge.npy"), NpyType::kInt8, shape).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(Npy, ADeviceIsWrittenToAndNotReplaced) {
  ASSERT_TRUE(write_npy<double>("/dev/null", {}, std::vector<double>{1.0}));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(Npy, ASymbolicLinkStaysAndItsTargetIsReplaced) {
  std::ofstream(path("target.npy")) << "before";
  std::filesystem::create_symlink("target.npy", path("link.npy"));
  ASSERT_TRUE(write_npy<double>(path("link.npy"), {}, std::vector<double>{1.0}));
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.npy")));
  EXPECT_TRUE(read_npy(path("target.npy")));
}

TEST_F(Npy, ReadsHeadersThatOthersWrite) {
  EXPECT_TRUE(read_npy(file_of("{\"shape\":(2,),\"descr\":\"|i1\",\"fortran_order\":True}", "ab")));
  EXPECT_TRUE(read_npy(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': ()}\n", "abcd")));
}

TEST_F(Npy, DamagedFilesAreRefused) {
  const char* const damaged[] = {
      "",
      "{",
      "{}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
      "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': False}",
      "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 99999999999999999999)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967297)}",
      "{'other': '<f4', 'fortran_order': False, 'shape': (1,)}",
  };
  for (const char* header : damaged) {
    const auto array = read_npy(file_of(header, "abcd"));
    ASSERT_FALSE(array) << header;
    EXPECT_EQ(array.error().code, ErrorCode::kCorrupt) << header;
    EXPECT_NE(array.error().message.find("made.npy"), std::string::npos);
  }
}

TEST_F(Npy, EveryTruncationIsRefused) {
  const float values[] = {1, 2, 3};
  const uint64_t shape[] = {3};
  ASSERT_TRUE(write_npy<float>(path("a.npy"), shape, values));
  const std::string whole = content(path("a.npy"));
  for (size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(path("cut.npy"), std::ios::binary) << whole.substr(0, size);
    ASSERT_FALSE(read_npy(path("cut.npy"))) << size;
  }
}

TEST_F(Npy, OtherTypesAndOrdersAreUnsupported) {
  for (const char* type : {">f4", "<c8", "<f2", "|b1", "|O"}) {
    const std::string header = std::string("{'descr': '") + type + "', 'fortran_order': False, 'shape': (1,)}";
    EXPECT_EQ(read_npy(file_of(header, "abcd")).error().code, ErrorCode::kUnsupported) << type;
  }
  EXPECT_EQ(read_npy(file_of("{'descr': '|i1', 'fortran_order': True, 'shape': (2, 2)}", "abcd")).error().code,
            ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace metallic
