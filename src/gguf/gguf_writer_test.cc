// Writing: what is written is read back the same, byte for byte where layouts agree, and a failure leaves nothing
// behind.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "gguf/gguf_builder.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

// Writes `file` again with all its metadata and tensors.
Status copy_file(const GgufFile& file, const std::string& path) {
  GgufWriter writer;
  for (const MetadataEntry& entry : file.metadata()) writer.copy(entry.key, entry.value);
  for (const TensorInfo& info : file.tensors())
    if (Status added = writer.add_tensor(info.name, info.format, std::span(info.size).first(size_t(info.rank))); !added)
      return added;
  return writer.write(path, [&](size_t index, uint64_t) -> Result<std::span<const std::byte>> {
    return file.tensor_data(file.tensors()[index]);
  });
}

Result<std::span<const std::byte>> no_data(size_t, uint64_t) { return std::span<const std::byte>(); }

TEST(GgufWriter, ReadAndWrittenAgainIsTheSameByteForByte) {
  const TemporaryFolder folder;
  for (uint32_t alignment : {8u, 32u, 256u}) {
    GgufBytes bytes;
    bytes.header(2, 16);
    bytes.number("u8", 0, uint8_t(255)).number("i8", 1, int8_t(-128)).number("u16", 2, uint16_t(65535));
    bytes.number("i16", 3, int16_t(-32768))
        .number("u32", 4, UINT32_MAX)
        .number("i32", 5, INT32_MIN)
        .number("f32", 6, 0.1f);
    bytes.number("bool", 7, uint8_t(1))
        .text("text", std::string_view("a\0\xff", 3))
        .number("general.alignment", 4, alignment);
    bytes.number("u64", 10, UINT64_MAX).number("i64", 11, INT64_MIN).number("f64", 12, 1e-300);
    bytes.key("words", 9).array(8, 2).string("x").string("");
    bytes.key("nested", 9).array(9, 2).array(6, 2).put(1.f).put(-0.f).array(9, 1).array(8, 1).string("deep");
    bytes.key("empty", 9).array(10, 0);
    bytes.tensor("first", {3, 1}, 0, 0).tensor("second", {64}, 8, std::max(16u, alignment)).pad(alignment);
    bytes.raw(std::string(12, 'a')).pad(alignment).raw(std::string(68, 'b')).pad(alignment);
    const std::string source = folder.write("in.gguf", bytes.str());
    const Result<GgufFile> file = GgufFile::open(source);
    ASSERT_TRUE(file) << file.error().message;
    const Status written = copy_file(*file, folder.file("out.gguf"));
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(read_whole_file(folder.file("out.gguf")), bytes.str()) << "alignment " << alignment;
    // In place, over the file that is mapped.
    ASSERT_TRUE(copy_file(*file, source));
    EXPECT_EQ(read_whole_file(source), bytes.str());
  }
}

TEST(GgufWriter, TheShortSettersWriteTheTypesTheyName) {
  const TemporaryFolder folder;
  GgufWriter writer(64);
  writer.set_unsigned("unsigned", 7);
  writer.set_unsigned("unsigned", 8);
  writer.set_float("float", 0.25f);
  writer.set_bool("bool", true);
  writer.set_string("string", "s");
  writer.set_strings("strings", std::vector<std::string>{"a", "b"});
  writer.set_ints("ints", std::vector<int32_t>{-1, 2});
  writer.set_floats("floats", std::vector<float>{0.5f});
  writer.set("wide", MetadataType::kInt64, int64_t(-5));
  ASSERT_TRUE(writer.write(folder.file("f.gguf"), no_data));
  const Result<GgufFile> file = GgufFile::open(folder.file("f.gguf"));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->alignment(), 64u);
  EXPECT_EQ(file->metadata().size(), 9u);
  EXPECT_EQ(file->find("unsigned")->type(), MetadataType::kUint32);
  EXPECT_EQ(file->get_unsigned("unsigned").value(), 8u);
  EXPECT_EQ(file->find("float")->type(), MetadataType::kFloat32);
  EXPECT_EQ(file->get_number("float").value(), 0.25);
  EXPECT_EQ(file->get_bool("bool").value(), true);
  EXPECT_EQ((*file->find("strings")->as_array()->strings())[1], "b");
  EXPECT_EQ(file->find("ints")->as_array()->element_type(), MetadataType::kInt32);
  EXPECT_EQ(file->find("ints")->as_array()->integers(), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(file->find("floats")->as_array()->numbers(), std::vector<double>{0.5});
  EXPECT_EQ(file->find("wide")->as_signed(), -5);
}

TEST(GgufWriter, CopiedValuesOutliveTheirFile) {
  const TemporaryFolder folder;
  GgufWriter writer;
  {
    const Result<GgufFile> file = GgufFile::open(folder.write(
        "in.gguf", GgufBytes().header(0, 2).text("t", "text").key("a", 9).array(8, 1).string("element").str()));
    ASSERT_TRUE(file);
    for (const MetadataEntry& entry : file->metadata()) writer.copy(entry.key, entry.value);
  }
  ASSERT_TRUE(writer.write(folder.file("out.gguf"), no_data));
  const std::string source = read_whole_file(folder.file("in.gguf"));
  EXPECT_EQ(read_whole_file(folder.file("out.gguf")).substr(0, source.size()), source);
}

TEST(GgufWriter, TensorsThatCannotBeAreRefused) {
  GgufWriter writer;
  const auto error = [&](std::string_view name, Format format, std::vector<uint64_t> size) {
    const Status status = writer.add_tensor(name, format, size);
    if (status) return std::string("accepted");
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    return status.error().message;
  };
  EXPECT_EQ(error("w", Format::kQ4_0, {32, 2}), "accepted");
  EXPECT_EQ(error("w", Format::kF32, {1}), "tensor 'w' has been added already");
  EXPECT_EQ(error("x", Format::kQ4_0, {31, 2}),
            "tensor 'x' of 31 x 2 elements in Q4_0: the first dimension must be a multiple of 32");
  EXPECT_EQ(error("x", Format::kF32, {1, 1, 1, 1, 1}),
            "tensor 'x' of 1 x 1 x 1 x 1 x 1 elements in F32: the rank is 5, it must be 1 to 4");
  EXPECT_EQ(error("x", Format::kF32, {}), "tensor 'x' of  elements in F32: the rank is 0, it must be 1 to 4");
  EXPECT_EQ(error("x", Format::kF32, {4, 0}),
            "tensor 'x' of 4 x 0 elements in F32: the number of elements must be 1 to 2^63 - 1");
  EXPECT_EQ(error("x", Format::kF64, {1ull << 62}),
            "tensor 'x' of 4611686018427387904 elements in F64: its bytes exceed 2^64");
  EXPECT_EQ(error("x", Format::kF8_E4M3, {32}), "tensor 'x' of 32 elements in F8_E4M3: GGUF files have no such format");
  EXPECT_EQ(error("", Format::kF32, {1}), "the tensor name '' must be 1 to 65535 bytes of UTF-8 without zero bytes");
}

TEST(GgufWriter, ValuesThatDoNotFitAreReportedByWrite) {
  const TemporaryFolder folder;
  const std::string path = folder.file("f.gguf");
  const auto error_of = [&](const auto& fill) {
    GgufWriter writer;
    fill(writer);
    const Status status = writer.write(path, no_data);
    EXPECT_FALSE(std::filesystem::exists(path));
    return status ? "written" : status.error().message;
  };
  EXPECT_EQ(error_of([](GgufWriter& w) { w.set("k", MetadataType::kUint8, uint64_t(256)); }),
            path + ": metadata key 'k': the value does not fit its type uint8");
  EXPECT_EQ(error_of([](GgufWriter& w) { w.set("k", MetadataType::kInt16, int64_t(-32769)); }),
            path + ": metadata key 'k': the value does not fit its type int16");
  EXPECT_EQ(error_of([](GgufWriter& w) { w.set("k", MetadataType::kString, true); }),
            path + ": metadata key 'k': the value does not fit its type string");
  EXPECT_EQ(error_of([](GgufWriter& w) { w.set_string("\n", "ok"), w.set_string("", "v"); }),
            path + ": the metadata key '' must be 1 to 65535 bytes of UTF-8 without zero bytes");
  EXPECT_EQ(error_of([](GgufWriter& w) { w.set_unsigned("general.alignment", 12); }),
            path + ": metadata key 'general.alignment' must be a uint32, a power of two and at least 8");
  EXPECT_EQ(GgufWriter(0).write(path, no_data).error().message,
            path + ": metadata key 'general.alignment' must be a uint32, a power of two and at least 8");
}

TEST(GgufWriter, AFailureLeavesTheFolderAsItWas) {
  const TemporaryFolder folder;
  const std::string path = folder.write("f.gguf", "old");
  GgufWriter writer;
  ASSERT_TRUE(writer.add_tensor("first", Format::kF32, std::vector<uint64_t>{4}));
  ASSERT_TRUE(writer.add_tensor("second", Format::kF32, std::vector<uint64_t>{4}));
  const std::vector<std::byte> data(16);
  const Status failed = writer.write(path, [&](size_t index, uint64_t) -> Result<std::span<const std::byte>> {
    if (index == 1) return tl::unexpected<Error>(Error{ErrorCode::kCancelled, "stopped"});
    return data;
  });
  EXPECT_EQ(failed.error().message, "stopped");
  const Status short_data = writer.write(
      path, [&](size_t, uint64_t) -> Result<std::span<const std::byte>> { return std::span(data).first(15); });
  EXPECT_EQ(short_data.error().message, "tensor 'first': got 15 bytes of data, expected 16");
  const auto all = [&](size_t, uint64_t) -> Result<std::span<const std::byte>> { return data; };
  const Status cut = writer.write(path, all, [] {
    return Status(tl::unexpected<Error>(Error{ErrorCode::kIo, "cut"}));
  });
  EXPECT_EQ(cut.error().message, "cut");
  EXPECT_EQ(read_whole_file(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()),
            1);
}

TEST(GgufWriter, AFileTooLargeForTheDiskFailsAtOnce) {
  const TemporaryFolder folder;
  GgufWriter writer;
  ASSERT_TRUE(writer.add_tensor("huge", Format::kI8, std::vector<uint64_t>{uint64_t(1) << 61}));
  bool asked = false;
  const Status status =
      writer.write(folder.file("f.gguf"), [&](size_t, uint64_t) -> Result<std::span<const std::byte>> {
        asked = true;
        return std::span<const std::byte>();
      });
  EXPECT_FALSE(status);
  EXPECT_FALSE(asked) << status.error().message;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace metallic
