// Split models: any part opens the whole; parts that are missing or do not belong together are named.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "gguf/gguf_builder.h"
#include "gguf/split.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

// Part `number` (from 0) of a model with one tensor a part.
GgufBytes part(uint16_t number, uint16_t count, int32_t tensors, std::string_view tensor) {
  GgufBytes bytes;
  bytes.header(1, 4).number("split.no", 2, number).number("split.count", 2, count);
  bytes.number("split.tensors.count", 5, tensors).text("part", fmt::format("{}", number));
  return bytes.tensor(tensor, {32}, 24, 0).pad(32).raw(std::string(32, char('0' + number)));
}

class GgufSplit : public testing::Test {
 protected:
  std::string write(uint64_t number, uint64_t count, const GgufBytes& bytes) {
    return folder_.write(split_part_path("m", number, count), bytes.str());
  }
  void expect_error(const std::string& path, const std::string& message, ErrorCode code = ErrorCode::kCorrupt) {
    const Result<GgufFile> file = GgufFile::open(path);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().message, message);
    EXPECT_EQ(file.error().code, code);
  }

  TemporaryFolder folder_;
};

TEST_F(GgufSplit, NamesOfPartsAreTakenApart) {
  const auto name = parse_split_name("dir/m-00002-of-00013.gguf");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->prefix, "dir/m");
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 13u);
  EXPECT_EQ(split_part_path(name->prefix, 2, 13), "dir/m-00002-of-00013.gguf");
  for (const char* other :
       {"m.gguf", "m-2-of-13.gguf", "m-00002-of-0001x.gguf", "m-00002-of-00013.ggup", "-00001-of-00002.gguf"})
    EXPECT_FALSE(parse_split_name(other)) << other;
}

TEST_F(GgufSplit, AnyPartOpensTheWholeModel) {
  std::vector<std::string> paths;
  for (uint16_t i = 0; i < 3; ++i) paths.push_back(write(i + 1u, 3, part(i, 3, 3, fmt::format("t{}", i))));
  for (const std::string& path : paths) {
    const Result<GgufFile> file = GgufFile::open(path);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->path(), path);
    EXPECT_EQ(file->file_count(), 3);
    EXPECT_EQ(file->get_string("part").value(), "0") << "metadata is that of the first part";
    ASSERT_EQ(file->tensors().size(), 3u);
    for (int i = 0; i < 3; ++i) {
      const TensorInfo* info = file->find_tensor(fmt::format("t{}", i));
      ASSERT_EQ(info, &file->tensors()[size_t(i)]);
      EXPECT_EQ(info->file, i);
      EXPECT_EQ(char(file->tensor_data(*info)[31]), char('0' + i));
    }
    EXPECT_EQ(file->file_bytes(), 3 * part(0, 3, 3, "t0").str().size());
  }
}

TEST_F(GgufSplit, AMissingPartIsNamed) {
  const std::string first = write(1, 3, part(0, 3, 3, "a"));
  write(2, 3, part(1, 3, 3, "b"));
  expect_error(first, folder_.file("m-00003-of-00003.gguf") + ": part 3 of 3 is missing; it must lie beside " + first,
               ErrorCode::kNotFound);
}

TEST_F(GgufSplit, AnErrorInAnotherPartNamesThatPart) {
  const std::string first = write(1, 2, part(0, 2, 2, "a"));
  const std::string broken = folder_.write("m-00002-of-00002.gguf", "GGUF");
  const Result<GgufFile> file = GgufFile::open(first);
  ASSERT_FALSE(file);
  EXPECT_TRUE(file.error().message.starts_with(broken + ": at byte 4: ")) << file.error().message;
}

TEST_F(GgufSplit, PartsThatDoNotBelongTogetherAreRefused) {
  const std::string first = write(1, 2, part(0, 2, 2, "a"));
  const std::string second = folder_.file("m-00002-of-00002.gguf");

  write(2, 2, part(0, 2, 2, "b"));
  expect_error(first, second + ": its metadata says part 1 of 2, its name part 2 of 2; rename it or download it again");
  write(2, 2, part(1, 3, 2, "b"));
  expect_error(first, second + ": its metadata says part 2 of 3, its name part 2 of 2; rename it or download it again");
  folder_.write("m-00002-of-00002.gguf", GgufBytes().header(0, 1).text("k", "v").str());
  expect_error(first, second + ": its metadata says part 1 of 1, its name part 2 of 2; rename it or download it again");
  write(2, 2, part(1, 2, 5, "b"));
  expect_error(first, second + ": key 'split.tensors.count' is not the same as in " + first +
                          "; the parts do not belong together");
  write(2, 2, part(1, 2, 2, "a"));
  expect_error(first, second + ": tensor 'a' is also in " + first + "; the parts do not belong together");

  write(1, 2, part(0, 2, 7, "a"));
  write(2, 2, part(1, 2, 7, "b"));
  expect_error(
      first,
      first + ": key 'split.tensors.count' promises 7 tensors, the 2 parts hold 2; the parts do not belong together");
}

TEST_F(GgufSplit, APartUnderAnotherNameSaysHowToRenameIt) {
  const std::string path = folder_.write("renamed.gguf", part(1, 3, 3, "b").str());
  expect_error(path,
               path + ": it is part 2 of 3 of a model, so its name must end in '-00002-of-00003.gguf'; rename it");
}

TEST_F(GgufSplit, KeysThatMakeNoSenseAreRefused) {
  GgufBytes no_number;
  no_number.header(0, 1).number("split.count", 2, uint16_t(2));
  std::string path = write(1, 2, no_number);
  expect_error(path, path + ": key 'split.no' must be there and below 'split.count' (2); the file is damaged");
  path = write(1, 2, part(2, 2, 2, "a"));
  expect_error(path, path + ": key 'split.no' must be there and below 'split.count' (2); the file is damaged");
  GgufBytes wrong_type;
  wrong_type.header(0, 1).text("split.count", "2");
  path = write(1, 2, wrong_type);
  expect_error(path,
               path + ": key 'split.count' (string) must be an integer that is not negative; the file is damaged");
  GgufBytes huge;
  huge.header(0, 2).number("split.no", 10, uint64_t(0)).number("split.count", 10, UINT64_MAX);
  path = write(1, 2, huge);
  expect_error(
      path,
      path +
          ": its metadata says part 1 of 18446744073709551615, its name part 1 of 2; rename it or download it again");
}

TEST_F(GgufSplit, AFileWithoutSplitKeysIsWholeWhateverItsName) {
  const std::string path = write(2, 3, GgufBytes().header(0, 1).text("k", "v"));
  const Result<GgufFile> file = GgufFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->file_count(), 1);
}

}  // namespace
}  // namespace metallic
