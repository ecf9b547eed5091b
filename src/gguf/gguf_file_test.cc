// Opening well-formed files: every value type, versions, alignments, look-ups.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "gguf/gguf_builder.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

class GgufFileTest : public testing::Test {
 protected:
  GgufFile open(const GgufBytes& bytes) {
    Result<GgufFile> file = GgufFile::open(folder_.write("model.gguf", bytes.str()));
    if (!file) throw std::runtime_error(file.error().message);
    return std::move(*file);
  }

  TemporaryFolder folder_;
};

TEST_F(GgufFileTest, ReadsEveryScalarTypeAtItsExtremes) {
  GgufBytes bytes;
  bytes.header(0, 15);
  bytes.number("u8", 0, uint8_t(255)).number("i8", 1, int8_t(-128)).number("u16", 2, uint16_t(65535));
  bytes.number("i16", 3, int16_t(-32768)).number("u32", 4, UINT32_MAX).number("i32", 5, INT32_MIN);
  bytes.number("f32", 6, 0.1f).number("yes", 7, uint8_t(1)).number("no", 7, uint8_t(0)).text("text", "h\xc3\xa9llo");
  bytes.number("u64", 10, UINT64_MAX).number("i64", 11, INT64_MIN).number("f64", 12, 1e300);
  bytes.number("nan", 6, std::numeric_limits<float>::quiet_NaN()).text("empty", "");
  const GgufFile file = open(bytes);

  EXPECT_EQ(file.metadata().size(), 15u);
  EXPECT_EQ(file.metadata()[1].key, "i8");
  EXPECT_EQ(file.find("u8")->as_unsigned(), 255u);
  EXPECT_EQ(file.find("i8")->as_signed(), -128);
  EXPECT_EQ(file.find("u16")->as_number(), 65535.0);
  EXPECT_EQ(file.find("i16")->as_signed(), -32768);
  EXPECT_EQ(file.find("u32")->as_unsigned(), UINT32_MAX);
  EXPECT_EQ(file.find("i32")->as_signed(), INT32_MIN);
  EXPECT_EQ(file.find("f32")->as_number(), double(0.1f));
  EXPECT_EQ(file.find("yes")->as_bool(), true);
  EXPECT_EQ(file.find("no")->as_bool(), false);
  EXPECT_EQ(file.find("text")->as_string(), "h\xc3\xa9llo");
  EXPECT_EQ(file.find("u64")->as_unsigned(), UINT64_MAX);
  EXPECT_EQ(file.find("i64")->as_signed(), INT64_MIN);
  EXPECT_EQ(file.find("f64")->as_number(), 1e300);
  EXPECT_TRUE(std::isnan(*file.find("nan")->as_number()));
  EXPECT_EQ(file.find("empty")->as_string(), "");
  EXPECT_EQ(file.find("absent"), nullptr);
}

TEST_F(GgufFileTest, ConvertsOnlyWithoutLoss) {
  GgufBytes bytes;
  bytes.header(0, 6);
  bytes.number("big", 10, UINT64_MAX).number("odd", 11, (int64_t(1) << 53) + 1).number("even", 11, int64_t(1) << 53);
  bytes.number("minus", 5, int32_t(-1)).number("flag", 7, uint8_t(1)).number("float", 6, 1.0f);
  const GgufFile file = open(bytes);
  EXPECT_EQ(file.find("big")->as_signed(), std::nullopt);
  EXPECT_EQ(file.find("big")->as_number(), std::nullopt);
  EXPECT_EQ(file.find("odd")->as_number(), std::nullopt);
  EXPECT_EQ(file.find("even")->as_number(), std::ldexp(1.0, 53));
  EXPECT_EQ(file.find("minus")->as_unsigned(), std::nullopt);
  EXPECT_EQ(file.find("flag")->as_unsigned(), std::nullopt);
  EXPECT_EQ(file.find("float")->as_unsigned(), std::nullopt);
  EXPECT_EQ(file.find("float")->as_string(), std::nullopt);
  EXPECT_EQ(file.find("float")->as_array(), nullptr);
}

TEST_F(GgufFileTest, ReadsArraysOfEveryTypeAndArraysOfArrays) {
  GgufBytes bytes;
  bytes.header(0, 6);
  bytes.key("bytes", 9).array(0, 3).raw("\x01\x02\xff");  // the following values are not aligned to their size
  bytes.key("ints", 9).array(5, 2).put(int32_t(-7)).put(int32_t(9));
  bytes.key("doubles", 9).array(12, 2).put(0.5).put(-2.25);
  bytes.key("words", 9).array(8, 3).string("a").string("").string(std::string_view("b\0c\xff", 4));
  bytes.key("empty", 9).array(8, 0);
  bytes.key("nested", 9)
      .array(9, 2)
      .array(9, 1)
      .array(7, 2)
      .raw(std::string_view("\1\0", 2))
      .array(2, 1)
      .put(uint16_t(513));
  const GgufFile file = open(bytes);

  EXPECT_EQ(file.find("bytes")->as_array()->integers(), (std::vector<int64_t>{1, 2, 255}));
  EXPECT_EQ(file.find("ints")->as_array()->numbers(), (std::vector<double>{-7, 9}));
  EXPECT_EQ(file.find("doubles")->as_array()->numbers(), (std::vector<double>{0.5, -2.25}));
  EXPECT_EQ(file.find("doubles")->as_array()->integers(), std::nullopt);
  const auto words = file.find("words")->as_array()->strings();
  ASSERT_TRUE(words && words->size() == 3);
  EXPECT_EQ((*words)[2], std::string_view("b\0c\xff", 4));
  EXPECT_EQ(file.find("words")->as_array()->numbers(), std::nullopt);
  EXPECT_EQ(file.find("empty")->as_array()->size(), 0u);
  const MetadataArray* nested = file.find("nested")->as_array();
  ASSERT_EQ(nested->size(), 2u);
  EXPECT_EQ(nested->at(0).as_array()->at(0).as_array()->at(0).as_bool(), true);
  EXPECT_EQ(nested->at(0).as_array()->at(0).as_array()->at(1).as_bool(), false);
  EXPECT_EQ(nested->at(1).as_array()->integers(), std::vector<int64_t>{513});
}

// Two tensors behind one key, in any version and with any alignment.
GgufBytes two_tensors(uint32_t version, uint32_t alignment) {
  GgufBytes bytes(version);
  bytes.header(2, 1).number("general.alignment", 4, alignment);
  const uint64_t second = (5 * 4 + alignment - 1) / alignment * alignment;
  bytes.tensor("first", {5}, 0, 0).tensor("second", {32, 3}, 2, second).pad(alignment);
  for (float value : {1.f, 2.f, 3.f, 4.f, 5.f}) bytes.put(value);
  bytes.pad(alignment).raw(std::string(54, 'q'));
  return bytes;
}

TEST_F(GgufFileTest, ReadsVersions1To3WithAnyAlignment) {
  for (uint32_t version : {1u, 2u, 3u})
    for (uint32_t alignment : {8u, 32u, 64u, 4096u}) {
      SCOPED_TRACE(testing::Message() << "version " << version << " alignment " << alignment);
      const GgufFile file = open(two_tensors(version, alignment));
      EXPECT_EQ(file.version(), version);
      EXPECT_EQ(file.alignment(), alignment);
      ASSERT_EQ(file.tensors().size(), 2u);
      const TensorInfo* first = file.find_tensor("first");
      ASSERT_EQ(first, &file.tensors()[0]);
      EXPECT_EQ(first->rank, 1);
      EXPECT_EQ(first->elements(), 5u);
      EXPECT_EQ(first->offset % alignment, 0u);
      float last = 0;
      std::memcpy(&last, file.tensor_data(*first).data() + 16, 4);
      EXPECT_EQ(last, 5.f);
      const TensorInfo* second = file.find_tensor("second");
      ASSERT_NE(second, nullptr);
      EXPECT_EQ(second->format, Format::kQ4_0);
      EXPECT_EQ(second->size, (std::array<uint64_t, 4>{32, 3, 1, 1}));
      EXPECT_EQ(file.tensor_data(*second).size(), 54u);
      for (const std::byte byte : file.tensor_data(*second)) EXPECT_EQ(char(byte), 'q');
      EXPECT_EQ(file.find_tensor("third"), nullptr);
    }
}

TEST_F(GgufFileTest, ReadsAScalarAsRankOne) {
  GgufBytes bytes;
  bytes.header(1, 0).tensor("scalar", {}, 0, 0).pad(32).put(1.5f);
  const GgufFile file = open(bytes);
  EXPECT_EQ(file.tensors()[0].rank, 1);
  EXPECT_EQ(file.tensors()[0].elements(), 1u);
  EXPECT_EQ(file.tensor_data(file.tensors()[0]).size(), 4u);
}

TEST_F(GgufFileTest, ReadsAFileWithoutTensorsOrPadding) {
  GgufBytes bytes;
  bytes.header(0, 1).text("general.architecture", "llama");
  const GgufFile file = open(bytes);
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_EQ(file.file_bytes(), bytes.str().size());
  EXPECT_EQ(file.file_count(), 1);
}

TEST_F(GgufFileTest, ViewsStayValidWhenTheFileMoves) {
  GgufFile file = open(two_tensors(3, 32));
  const std::string_view name = file.tensors()[1].name;
  const TensorInfo* info = file.find_tensor("second");
  const GgufFile moved = std::move(file);
  EXPECT_EQ(name, "second");
  EXPECT_EQ(moved.find_tensor("second"), info);
  EXPECT_EQ(char(moved.tensor_data(*info)[0]), 'q');
}

TEST_F(GgufFileTest, AFileThatShrinksWhileOpenIsAnError) {
  GgufBytes bytes;
  bytes.header(1, 0).tensor("w", {1 << 16}, 24, 0).pad(32).raw(std::string(1 << 16, 'q'));
  const GgufFile file = open(bytes);
  EXPECT_TRUE(file.check_intact());
  std::filesystem::resize_file(file.path(), 64);
  const std::span<const std::byte> data = file.tensor_data(file.tensors()[0]);
  EXPECT_EQ(std::count(data.begin(), data.end(), std::byte('q')), 0);
  const Status status = file.check_intact();
  ASSERT_FALSE(status);
  EXPECT_TRUE(status.error().message.starts_with(file.path() + ": at byte 64: the file was cut short"))
      << status.error().message;
}

TEST_F(GgufFileTest, GettersNameFileKeyAndWhatIsThereInstead) {
  GgufBytes bytes;
  bytes.header(0, 3).text("name", "x\ny").number("minus", 5, int32_t(-3)).number("rate", 6, 2.5f);
  const GgufFile file = open(bytes);
  EXPECT_EQ(file.get_string("name").value(), "x\ny");
  EXPECT_EQ(file.get_number("rate").value(), 2.5);
  EXPECT_EQ(file.get_unsigned_or("absent", 7).value(), 7u);
  EXPECT_EQ(file.get_bool_or("absent", true).value(), true);
  EXPECT_EQ(file.get_string_or("absent", "d").value(), "d");
  EXPECT_EQ(file.get_number_or("minus", 1).value(), -3.0);

  const Error absent = file.get_unsigned("absent").error();
  EXPECT_EQ(absent.code, ErrorCode::kNotFound);
  EXPECT_EQ(absent.message,
            file.path() + ": the metadata key 'absent' is missing; expected an integer that is not negative");
  EXPECT_EQ(file.get_unsigned("minus").error().message,
            file.path() + ": the metadata key 'minus' is the int32 -3; expected an integer that is not negative");
  const Error wrong = file.get_bool_or("name", true).error();
  EXPECT_EQ(wrong.code, ErrorCode::kCorrupt);
  EXPECT_EQ(wrong.message, file.path() + ": the metadata key 'name' is the string 'x\\ny'; expected a bool");
  EXPECT_EQ(file.get_array("rate").error().message,
            file.path() + ": the metadata key 'rate' is the float32 2.5; expected an array");
}

}  // namespace
}  // namespace metallic
