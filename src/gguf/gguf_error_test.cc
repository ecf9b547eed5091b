// Broken files: each class of hole known in GGUF readers has a file of its own here, and its message says what is
// wrong.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "gguf/gguf_builder.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

class GgufErrors : public testing::Test {
 protected:
  // Opening must fail with this message after "FILE: ", on one line of printable characters.
  void expect_error(std::string_view bytes, const std::string& message, ErrorCode code = ErrorCode::kCorrupt) {
    const std::string path = folder_.write("broken.gguf", bytes);
    const Result<GgufFile> file = GgufFile::open(path);
    ASSERT_FALSE(file) << "opened, expected: " << message;
    EXPECT_EQ(file.error().message, path + ": " + message);
    EXPECT_EQ(file.error().code, code);
    for (const char c : file.error().message) EXPECT_TRUE(uint8_t(c) >= 0x20 && c != 0x7f) << int(c);
  }
  void expect_error(const GgufBytes& bytes, const std::string& message, ErrorCode code = ErrorCode::kCorrupt) {
    expect_error(bytes.str(), message, code);
  }

  TemporaryFolder folder_;
};

constexpr const char* kTruncated = "the file is truncated or damaged";
constexpr const char* kDamaged = "the file is damaged";

GgufBytes with_tensor(std::initializer_list<uint64_t> size, uint32_t format, uint64_t offset = 0) {
  GgufBytes bytes;
  bytes.header(1, 0).tensor("w", size, format, offset).pad(32);
  return bytes.raw(std::string(64, 'd'));
}

std::string operator+(const char* a, const std::string& b) { return std::string(a) + b; }

TEST_F(GgufErrors, OtherKindsOfFilesAreNamed) {
  expect_error("\x1b[31m....................",
               "at byte 0: this is not a GGUF file: it starts with '\\x1b[31', expected 'GGUF'");
  expect_error("<!DOCTYPE html><html>", "at byte 0: this is not a GGUF file but a web page; download the file itself");
  expect_error("version https://git-lfs.github.com/spec/v1\noid sha256:0",
               "at byte 0: this is not a GGUF file but a Git LFS pointer; fetch the file itself, for example with 'git "
               "lfs pull'");
  expect_error(std::string("\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}", 27),
               "at byte 0: this is not a GGUF file but looks like safetensors; convert the model to GGUF");
  expect_error("", "the file is empty (0 bytes)");
}

TEST_F(GgufErrors, VersionsAndByteOrdersThatCannotBeRead) {
  expect_error(GgufBytes().raw("GGUF").u32(0), "at byte 4: GGUF version 0 does not exist; " + std::string(kDamaged));
  expect_error(
      GgufBytes().raw("GGUF").u32(4).count(0).count(0),
      "at byte 4: GGUF version 4, known are 1 to 3; the file is damaged, or newer than this metallic: update metallic",
      ErrorCode::kUnsupported);
  expect_error(
      GgufBytes().raw("GGUF").u32(0x03000000).count(0).count(0),
      "at byte 4: the file is big-endian, which metallic does not read; convert it with 'gguf-convert-endian FILE "
      "little' (Python package gguf)",
      ErrorCode::kUnsupported);
}

TEST_F(GgufErrors, CountsThatOverflowOrExceedTheFile) {
  for (uint64_t count : {UINT64_MAX, UINT64_MAX / 56 + 2, uint64_t(1) << 63, uint64_t(1) << 32, uint64_t(3)}) {
    expect_error(
        GgufBytes().header(0, count).text("k", "v"),
        fmt::format("at byte 24: the header counts {} metadata keys, but only 22 bytes follow; {}", count, kTruncated));
    expect_error(
        GgufBytes().header(count, 0).tensor("w", {1}, 0, 0),
        fmt::format("at byte 24: the header counts {} tensors, but only 33 bytes follow; {}", count, kTruncated));
  }
}

TEST_F(GgufErrors, LengthsOfStringsAndArraysThatOverflowOrExceedTheFile) {
  for (uint64_t length : {UINT64_MAX, uint64_t(1) << 63, uint64_t(1) << 40, uint64_t(2)}) {
    expect_error(GgufBytes().header(0, 1).key("k", 8).count(length).raw("v"),
                 fmt::format("at byte 37: key 'k': the string has a length of {} bytes, but only 1 bytes follow; {}",
                             length, kTruncated));
    for (const auto& [type, name, bytes] :
         {std::tuple(12u, "float64", 8), {8u, "string", 8}, {9u, "array", 12}, {5u, "int32", 4}})
      expect_error(
          GgufBytes().header(0, 1).key("k", 9).array(type, length).raw("1234567"),
          fmt::format("at byte 37: key 'k': an array of {} {} elements takes at least {} bytes each, but only 7 bytes "
                      "follow; {}",
                      length, name, bytes, kTruncated));
  }
  expect_error(GgufBytes().header(0, 1).count(UINT64_MAX - 3).raw("key..............."),
               fmt::format("at byte 24: a metadata key has a length of {} bytes, but only 18 bytes follow; {}",
                           UINT64_MAX - 3, kTruncated));
}

TEST_F(GgufErrors, AnArrayDeclaredWithAnotherElementTypeIsNotReadPastItsEnd) {
  // Four bytes that are really a uint8 array, declared as strings: the first "length" is what happens to follow.
  expect_error(
      GgufBytes().header(0, 2).key("k", 9).array(8, 1).raw("abcdefgh").text("z", "z"),
      fmt::format("at byte 49: key 'k': a string of the array has a length of {} bytes, but only 22 bytes follow; {}",
                  uint64_t(0x6867666564636261), kTruncated));
  expect_error(GgufBytes().header(0, 1).key("k", 9).array(13, 1).put(uint64_t(0)),
               "at byte 37: key 'k': the element type is 13, known are 0 to 12; the file is damaged or newer than this "
               "metallic");
  expect_error(
      GgufBytes().header(0, 1).key("k", UINT32_MAX).put(uint64_t(0)),
      "at byte 33: key 'k': the value type is 4294967295, known are 0 to 12; the file is damaged or newer than this "
      "metallic");
}

TEST_F(GgufErrors, NestedArraysAreLimitedInDepthAndNumber) {
  for (int depth : {17, 10000}) {
    GgufBytes bytes;
    bytes.header(0, 1).key("k", 9);
    for (int i = 0; i < depth; ++i) bytes.array(9, 1);
    expect_error(bytes, "at byte 229: key 'k': arrays are nested more than 16 deep; the file is damaged or hostile");
  }
  GgufBytes many;
  many.header(0, 1).key("k", 9).array(9, (1 << 20) + 1).raw(std::string(12 << 21, '\0'));
  expect_error(many,
               "at byte 37: key 'k': an array of 1048577 array elements goes beyond the limit of 1048576 in one file");
}

TEST_F(GgufErrors, KeysAndNamesMustBeDistinctTextOfSaneLength) {
  const std::string tail = std::string("; ") + kDamaged;
  expect_error(GgufBytes().header(0, 1).text("", "......"), "at byte 24: a metadata key is empty" + tail);
  expect_error(GgufBytes().header(0, 1).text("a\xff\n", "v"),
               "at byte 33: a metadata key 'a\\xff\\n' is not well-formed UTF-8" + tail);
  expect_error(GgufBytes().header(0, 1).text(std::string_view("a\0b", 3), "v"),
               "at byte 33: a metadata key 'a\\x00b' holds a zero byte" + tail);
  expect_error(GgufBytes().header(0, 1).text(std::string(65536, 'k'), "v"),
               "at byte 24: a metadata key has 65536 bytes, at most 65535 are allowed" + tail);
  expect_error(GgufBytes().header(0, 2).text("k", "1").text("k", "2"),
               "at byte 54: the key 'k' appears twice, first at byte 32" + tail);
  expect_error(GgufBytes().header(1, 0).tensor("", {1}, 0, 0).raw("...."), "at byte 24: a tensor name is empty" + tail);
  GgufBytes twice;
  twice.header(2, 0).tensor("w", {8}, 0, 0).tensor("w", {8}, 0, 32).pad(32).raw(std::string(64, 'd'));
  expect_error(twice, "at byte 65: the tensor 'w' appears twice, first at byte 32" + tail);
}

TEST_F(GgufErrors, ABoolIsZeroOrOne) {
  expect_error(GgufBytes().header(0, 1).number("k", 7, uint8_t(2)),
               "at byte 37: key 'k': a bool is the byte 2, only 0 and 1 are allowed; the file is damaged");
  expect_error(GgufBytes().header(0, 1).key("k", 9).array(7, 3).raw(std::string_view("\0\1\xff", 3)),
               "at byte 51: key 'k': a bool is the byte 255, only 0 and 1 are allowed; the file is damaged");
}

TEST_F(GgufErrors, AlignmentOfAnotherTypeOrZeroOrNoPowerOfTwo) {
  const std::string key = "at byte 32: key 'general.alignment' is ";
  for (uint32_t alignment : {0u, 1u, 4u, 24u, 33u, UINT32_MAX})
    expect_error(GgufBytes().header(0, 1).number("general.alignment", 4, alignment),
                 key + fmt::format("{}, expected a power of two of at least 8; the file is damaged", alignment));
  expect_error(GgufBytes().header(0, 1).number("general.alignment", 10, uint64_t(32)),
               key + "of type uint64, expected uint32; the file is damaged");
  expect_error(GgufBytes().header(0, 1).text("general.alignment", "32"),
               key + "of type string, expected uint32; the file is damaged");
}

TEST_F(GgufErrors, ShapesThatAreNone) {
  const std::string at = "at byte 33: tensor 'w': ";
  expect_error(with_tensor({1, 1, 1, 1, 1}, 0), at + "rank 5, at most 4 is allowed; the file is damaged");
  expect_error(with_tensor({4, 0}, 0), at + "dimension 1 is 0, a tensor has at least one element; the file is damaged");
  expect_error(with_tensor({UINT64_MAX, 2}, 0),
               at + "the dimensions 18446744073709551615 have a product over 2^63; the file is damaged");
  // 2^32 * 2^32 and 2^24 * 2^40 * 4 wrap to 0 in 64 bits.
  expect_error(with_tensor({1ull << 32, 1ull << 32}, 0),
               at + "the dimensions 4294967296 x 4294967296 have a product over 2^63; the file is damaged");
  expect_error(with_tensor({1ull << 24, 1ull << 40, 4}, 0),
               at + "the dimensions 16777216 x 1099511627776 have a product over 2^63; the file is damaged");
  expect_error(with_tensor({31}, 2),
               "at byte 45: tensor 'w': rows of 31 elements are no whole number of Q4_0 blocks of 32; "
               "the file is damaged");
  expect_error(with_tensor({128, 2}, 12),
               "at byte 53: tensor 'w': rows of 128 elements are no whole number of Q4_K blocks of "
               "256; the file is damaged");
}

TEST_F(GgufErrors, BytesThatWrapToASmallSize) {
  // 2^62 doubles are 2^65 bytes; 2^62 - 2 floats are 2^64 - 8 bytes and end beyond 2^64.
  expect_error(with_tensor({1ull << 62}, 28),
               "at byte 45: tensor 'w': its size in bytes is over 2^64; the file is damaged");
  expect_error(
      with_tensor({(1ull << 62) - 2}, 0),
      "at byte 32: tensor 'w': its data, 18446744073709551608 bytes at data offset 0, ends beyond 2^64; the file is "
      "damaged");
}

TEST_F(GgufErrors, FormatsThatAreUnknownOrRemoved) {
  const std::string at = "at byte 45: tensor 'w': ";
  expect_error(
      with_tensor({32}, 1000),
      at + "unknown format 1000, known ids go up to 41; the file is damaged, or newer than this metallic: update "
           "metallic or use another quantisation",
      ErrorCode::kUnsupported);
  expect_error(with_tensor({32}, uint32_t(Format::kF8_E4M3)),
               at + "unknown format 2147483648, known ids go up to 41; the file is damaged, or newer than this "
                    "metallic: update metallic or use another quantisation",
               ErrorCode::kUnsupported);
  for (uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    const Result<GgufFile> file = GgufFile::open(folder_.write("removed.gguf", with_tensor({32}, id).str()));
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(file.error().message.find(fmt::format("tensor 'w': format {} (", id)), std::string::npos)
        << file.error().message;
    EXPECT_NE(file.error().message.find("has been removed from GGUF; quantise the model again"), std::string::npos);
  }
}

TEST_F(GgufErrors, DataThatIsMisalignedOrBeyondTheEnd) {
  expect_error(with_tensor({8}, 0, 4),
               "at byte 49: tensor 'w': data offset 4 is no multiple of the alignment 32; the file is damaged");
  const std::string download = "it is truncated or damaged: download it again";
  expect_error(
      with_tensor({17}, 0),
      "at byte 32: tensor 'w': its data goes from byte 64 to 132, but the file has only 128 bytes; " + download);
  expect_error(with_tensor({1}, 0, 1 << 20),
               "at byte 32: tensor 'w': its data goes from byte 1048640 to 1048644, but the file has only 128 bytes; " +
                   download);
  expect_error(
      with_tensor({8}, 0, UINT64_MAX - 31),
      "at byte 32: tensor 'w': its data, 32 bytes at data offset 18446744073709551584, ends beyond 2^64; the file is "
      "damaged");
}

TEST_F(GgufErrors, DataThatOverlaps) {
  GgufBytes bytes;
  bytes.header(3, 0)
      .tensor("a", {4}, 0, 64)
      .tensor("b", {9}, 0, 0)
      .tensor("c", {8}, 0, 32)
      .pad(32)
      .raw(std::string(128, 'd'));
  expect_error(bytes,
               "at byte 98: tensor 'c': its data starts at byte 160, inside that of tensor 'b' (128 to 164); the file "
               "is damaged");
}

TEST_F(GgufErrors, ThingsThatAreNoFiles) {
  EXPECT_EQ(GgufFile::open(folder_.file("absent.gguf")).error().code, ErrorCode::kNotFound);
  EXPECT_NE(GgufFile::open("/dev/zero").error().message.find("a device"), std::string::npos);
  EXPECT_NE(GgufFile::open(folder_.path().string()).error().message.find("a directory"), std::string::npos);
  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_NE(GgufFile::open(fifo).error().message.find("a FIFO"), std::string::npos);
}

TEST_F(GgufErrors, ATerminalNeverSeesWhatAFileSays) {
  expect_error(
      GgufBytes().header(0, 1).number("\x1b]0;x\x07\xe2\x80\xae", 7, uint8_t(9)),
      "at byte 45: key '\\x1b]0;x\\x07\\u{202e}': a bool is the byte 9, only 0 and 1 are allowed; the file is damaged");
}

}  // namespace
}  // namespace metallic
