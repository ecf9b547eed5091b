#include "safetensors/reader.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace metallic {
namespace {

// A file in the temporary folder, removed with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    static int counter = 0;
    path_ = std::filesystem::temp_directory_path() / fmt::format("metallic-safetensors-{}-{}", ::getpid(), counter++);
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

std::string with_length(uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}
std::string file_of(const std::string& header, size_t data_bytes) {
  return with_length(header.size(), header + std::string(data_bytes, '\1'));
}

std::string error_of(const std::string& bytes) {
  const TemporaryFile file(bytes);
  const auto opened = SafetensorsFile::open(file.path());
  if (opened) return "opened";
  EXPECT_EQ(opened.error().message.find(file.path()), 0u) << opened.error().message;
  EXPECT_EQ(opened.error().message.find('\n'), std::string::npos);
  return opened.error().message;
}

constexpr const char* kTwo = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},)"
                             R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})";

TEST(SafetensorsFile, GivesTheTensorsInTheOrderOfTheirBytes) {
  const TemporaryFile file(file_of(kTwo, 28));
  const auto opened = SafetensorsFile::open(file.path());
  ASSERT_TRUE(opened) << opened.error().message;
  ASSERT_EQ(opened->tensors().size(), 2u);
  EXPECT_EQ(opened->tensors()[0].name, "a");
  const SafetensorsTensor* b = opened->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->type, SafetensorsType::kF32);
  EXPECT_EQ(b->shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(b->elements(), 6u);
  EXPECT_EQ(opened->data(*b).size(), 24u);
  EXPECT_EQ(opened->data(*b).data(), opened->data(opened->tensors()[0]).data() + 4);
  EXPECT_EQ(opened->find("c"), nullptr);
  opened->release(*b);
  EXPECT_EQ(opened->data(*b)[23], std::byte{1});
}

TEST(SafetensorsFile, TakesScalarsEmptyTensorsAndPaddedHeaders) {
  EXPECT_EQ(error_of(file_of(R"({"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                             R"("e":{"dtype":"F64","shape":[0,5],"data_offsets":[8,8]}}   )",
                             8)),
            "opened");
  EXPECT_EQ(error_of(file_of("{}", 0)), "opened");
}

TEST(SafetensorsFile, KnowsEveryTypeOfTheFormat) {
  for (const SafetensorsTypeInfo& info : all_safetensors_types()) {
    const std::string header =
        fmt::format(R"({{"t":{{"dtype":"{}","shape":[3],"data_offsets":[0,{}]}}}})", info.name, 3 * info.bytes);
    EXPECT_EQ(error_of(file_of(header, size_t(3 * info.bytes))), "opened") << info.name;
  }
}

TEST(SafetensorsFile, RefusesWhatTheFormatDoesNotAllow) {
  const auto one = [](const char* entry) { return fmt::format(R"({{"t":{}}})", entry); };
  struct Case {
    std::string bytes;
    const char* expected;
  };
  const Case cases[] = {
      {"short", "5 bytes"},
      {with_length(100, "{}"), "said to have 100 bytes"},
      {with_length(~uint64_t(0), "{}"), "said to have"},
      {with_length(100'000'001, std::string(10, ' ')), "the limit"},
      {with_length(0, "{}"), "does not begin with"},
      {file_of("[1]", 0), "does not begin with"},
      {file_of("{", 0), "no valid JSON"},
      {file_of("{\"\xff\":1}", 0), "no valid JSON"},
      {file_of("{} {}", 0), "no valid JSON"},
      {file_of(R"({"t":5})", 0), "a number where 't'"},
      {file_of(R"({"t":null})", 0), "null"},
      {file_of(R"({"__metadata__":{"a":1}})", 0), "a number"},
      {file_of(R"({"__metadata__":{"a":{}}})", 0), "an object"},
      {file_of(one(R"({"dtype":"F32","shape":[1]})"), 4), "has no data_offsets"},
      {file_of(one(R"({"shape":[1],"data_offsets":[0,4]})"), 4), "has no dtype"},
      {file_of(one(R"({"dtype":"F32","data_offsets":[0,4]})"), 4), "has no shape"},
      {file_of(one(R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})"), 4), "'F31'; the known ones are: BOOL"},
      {file_of(one(R"({"dtype":7,"shape":[1],"data_offsets":[0,4]})"), 4), "a number where 't' (dtype)"},
      {file_of(one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})"), 4), "'dtype' twice"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1})"), 4), "'extra'"},
      {file_of(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), 4), "a negative number"},
      {file_of(one(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})"), 4), "no integer"},
      {file_of(one(R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]})"), 4), "no integer"},
      {file_of(one(R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})"), 4), "an array"},
      {file_of(one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"), 4), "more than 8"},
      {file_of(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), 4), "needs 8 bytes"},
      {file_of(one(R"({"dtype":"F32","shape":[9223372036854775808,4],"data_offsets":[0,4]})"), 4), "more than 2^64"},
      {file_of(one(R"({"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]})"), 4), "more than 2^64"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), 4), "data_offsets 4 to 0"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})"), 4), "the file has 4 bytes"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), 4), "1 data_offsets"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,4]})"), 4), "more than 2 numbers"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), 8), "there is a hole"},
      {file_of(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), 8), "the file has 8"},
      {file_of(
           R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"u":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
           6),
       "they overlap"},
      {file_of(
           R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"t":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
           4),
       "appears twice"},
  };
  for (const Case& c : cases) {
    const std::string message = error_of(c.bytes);
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.expected << " not in: " << message;
  }
}

TEST(SafetensorsFile, ADeepHeaderIsAnErrorAndNoCrash) {
  EXPECT_NE(error_of(file_of("{\"t\":" + std::string(100000, '['), 0)), "opened");
  std::string objects;
  for (int i = 0; i < 50000; ++i) objects += "{\"a\":";
  EXPECT_NE(error_of(file_of(objects, 0)), "opened");
}

// Every byte of a good file changed, one at a time: it opens or is refused, and what opens can be read whole.
TEST(SafetensorsFile, SurvivesEveryFlippedByte) {
  const std::string good = file_of(kTwo, 28);
  for (size_t at = 0; at < good.size() - 28; ++at)
    for (const int flip : {0x01, 0x80, 0x20}) {
      std::string bytes = good;
      bytes[at] = char(bytes[at] ^ flip);
      const TemporaryFile file(bytes);
      const auto opened = SafetensorsFile::open(file.path());
      if (!opened) continue;
      for (const SafetensorsTensor& tensor : opened->tensors()) {
        std::vector<float> values(tensor.elements());
        safetensors_to_float(tensor.type, opened->data(tensor).data(), int64_t(values.size()), values.data());
      }
    }
}

TEST(SafetensorsFile, SurvivesEveryTruncation) {
  const std::string good = file_of(kTwo, 28);
  for (size_t size = 1; size < good.size(); ++size) EXPECT_NE(error_of(good.substr(0, size)), "opened") << size;
}

TEST(SafetensorsToFloat, DecodesTheEightBitFloatsOfTheSpecification) {
  const auto decode = [](SafetensorsType type, uint8_t bits) {
    float value = 0;
    safetensors_to_float(type, &bits, 1, &value);
    return value;
  };
  EXPECT_EQ(decode(SafetensorsType::kF8E4M3, 0x38), 1.0f);
  EXPECT_EQ(decode(SafetensorsType::kF8E4M3, 0x7e), 448.0f);
  EXPECT_EQ(decode(SafetensorsType::kF8E4M3, 0x81), -0x1p-9f);
  EXPECT_EQ(decode(SafetensorsType::kF8E4M3, 0x08), 0x1p-6f);
  EXPECT_TRUE(std::isnan(decode(SafetensorsType::kF8E4M3, 0xff)));
  EXPECT_EQ(decode(SafetensorsType::kF8E5M2, 0x3c), 1.0f);
  EXPECT_EQ(decode(SafetensorsType::kF8E5M2, 0x7b), 57344.0f);
  EXPECT_EQ(decode(SafetensorsType::kF8E5M2, 0x01), 0x1p-16f);
  EXPECT_TRUE(std::isinf(decode(SafetensorsType::kF8E5M2, 0x7c)));
}

}  // namespace
}  // namespace metallic
