// A small valid file, broken in thousands of ways: every mutant either opens, and then all that it holds can be read,
// or gives one line that names the file. AddressSanitizer and UBSan watch.
#include <gtest/gtest.h>

#include "gguf/gguf_builder.h"
#include "gguf/parse_header.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

// Where a field of the valid file lies.
struct Field {
  size_t offset;
  size_t bytes;
};

struct Sample {
  std::string bytes;
  std::vector<Field> fields;  // every count, length, type, dimension and offset
  size_t header_bytes = 0;
};

Sample make_sample(uint32_t version) {
  GgufBytes out(version);
  Sample sample;
  const size_t count = version == 1 ? 4 : 8;
  const auto field = [&](size_t bytes) { sample.fields.push_back({out.str().size(), bytes}); };
  const auto key = [&](std::string_view name, uint32_t type) {
    field(count);
    sample.fields.push_back({out.str().size() + count + name.size(), 4});
    out.key(name, type);
  };
  const auto array = [&](uint32_t type, uint64_t length) {
    field(4);
    sample.fields.push_back({out.str().size() + 4, count});
    out.array(type, length);
  };
  sample.fields = {{0, 4}, {4, 4}, {8, count}, {8 + count, count}};
  out.header(3, 9);
  key("general.architecture", 8), field(count), out.string("llama");
  key("general.alignment", 4), field(4), out.u32(32);
  key("flag", 7), field(1), out.put(uint8_t(1));
  key("half", 12), field(8), out.put(0.5);
  key("small", 0), field(1), out.put(uint8_t(7));
  key("words", 9), array(8, 2), field(count), out.string("ab"), field(count), out.string("");
  key("bools", 9), array(7, 2), field(2), out.put(uint8_t(0)).put(uint8_t(1));
  key("nested", 9), array(9, 2), array(3, 2), out.put(int16_t(1)).put(int16_t(2)), array(8, 1), field(count),
      out.string("x");
  key("wide", 11), field(8), out.put(int64_t(-1));
  const auto tensor = [&](std::string_view name, std::initializer_list<uint64_t> size, uint32_t format,
                          uint64_t offset) {
    size_t at = out.str().size();
    sample.fields.push_back({at, count});
    at += count + name.size();
    sample.fields.push_back({at, 4});
    at += 4;
    for (size_t i = 0; i < size.size(); ++i, at += count) sample.fields.push_back({at, count});
    sample.fields.push_back({at, 4});
    sample.fields.push_back({at + 4, 8});
    out.tensor(name, size, format, offset);
  };
  tensor("a", {3, 2}, 0, 0), tensor("b", {32, 2, 1, 2}, 2, 32), tensor("c", {256}, 14, 128);
  sample.header_bytes = out.str().size();
  out.pad(32).raw(std::string(128 + 210, '\x5a'));
  sample.bytes = out.str();
  return sample;
}

void touch(const MetadataArray& array, int depth);

void touch(const MetadataValue& value, int depth) {
  EXPECT_STRNE(metadata_type_name(value.type()), "unknown");
  size_t sum = value.as_unsigned().has_value() + value.as_signed().has_value() + value.as_number().has_value() +
               value.as_bool().has_value();
  if (const auto text = value.as_string())
    for (const char c : *text) sum += size_t(uint8_t(c));
  if (value.as_array() != nullptr) touch(*value.as_array(), depth + 1);
  volatile size_t sink = sum;
  (void)sink;
}

void touch(const MetadataArray& array, int depth) {
  ASSERT_LE(depth, 16);
  for (size_t i = 0; i < array.size(); ++i) touch(array.at(i), depth);
  EXPECT_EQ(array.integers().value_or(std::vector<int64_t>(array.size())).size(), array.size());
  EXPECT_EQ(array.numbers().value_or(std::vector<double>(array.size())).size(), array.size());
}

// Reads every byte that a header gives access to; `data` gives a tensor's.
template <class Data>
void touch_everything(std::span<const MetadataEntry> metadata, std::span<const TensorInfo> tensors, const Data& data) {
  for (const MetadataEntry& entry : metadata) touch(entry.value, 0);
  for (const TensorInfo& info : tensors) {
    const std::span<const std::byte> bytes = data(info);
    EXPECT_EQ(bytes.size(), info.bytes);
    EXPECT_EQ(format_bytes(info.format, info.elements()), info.bytes);
    unsigned sum = 0;
    for (const std::byte byte : bytes) sum += unsigned(byte);
    volatile unsigned sink = sum;
    (void)sink;
  }
}

void expect_one_line_for(const std::string& path, const Error& error) {
  EXPECT_TRUE(error.message.starts_with(path + ": ")) << error.message;
  for (const char c : error.message) EXPECT_GE(uint8_t(c), 0x20) << error.message;
  EXPECT_LT(error.message.size(), path.size() + 700) << error.message;
}

struct Tally {
  int opened = 0;
  int refused = 0;
};

class GgufMutations : public testing::TestWithParam<uint32_t> {
 protected:
  // From memory that ends exactly where the file does, so that AddressSanitizer sees a read of one byte too many.
  void try_mutant(const std::string& bytes) {
    const std::byte* begin = reinterpret_cast<const std::byte*>(bytes.data());
    const std::vector<std::byte> exact(begin, begin + bytes.size());
    const Result<GgufHeader> header = parse_gguf_header("memory", exact, 0);
    ++(header ? tally_.opened : tally_.refused);
    if (!header) return expect_one_line_for("memory", header.error());
    touch_everything(header->metadata, header->tensors, [&](const TensorInfo& info) {
      return std::span(exact).subspan(size_t(info.offset), size_t(info.bytes));
    });
  }

  // As a file, which must fare as in memory.
  void try_mutant_file(const std::string& bytes) {
    const std::string path = folder_.write("mutant.gguf", bytes);
    const Result<GgufFile> file = GgufFile::open(path);
    EXPECT_EQ(file.has_value(), parse_gguf_header("", std::as_bytes(std::span(bytes)), 0).has_value());
    if (!file) return expect_one_line_for(path, file.error());
    touch_everything(file->metadata(), file->tensors(),
                     [&](const TensorInfo& info) { return file->tensor_data(info); });
    for (const MetadataEntry& entry : file->metadata()) EXPECT_EQ(file->find(entry.key), &entry.value);
    for (const TensorInfo& info : file->tensors()) EXPECT_EQ(file->find_tensor(info.name), &info);
  }

  TemporaryFolder folder_;
  Tally tally_;
};

uint64_t load(const std::string& bytes, Field field) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + field.offset, field.bytes);
  return value;
}

TEST_P(GgufMutations, TheSampleItselfOpens) {
  try_mutant(make_sample(GetParam()).bytes);
  try_mutant_file(make_sample(GetParam()).bytes);
  EXPECT_EQ(tally_.opened, 1);
}

TEST_P(GgufMutations, EveryFieldAtItsExtremesAndOffByOne) {
  const Sample sample = make_sample(GetParam());
  for (const Field field : sample.fields) {
    const uint64_t valid = load(sample.bytes, field);
    const uint64_t size = sample.bytes.size();
    for (uint64_t value : {uint64_t(0),
                           uint64_t(1),
                           uint64_t(2),
                           uint64_t(5),
                           uint64_t(8),
                           uint64_t(9),
                           uint64_t(12),
                           valid - 1,
                           valid + 1,
                           valid * 2,
                           valid + 32,
                           size - 1,
                           size,
                           size + 1,
                           uint64_t(INT8_MAX),
                           uint64_t(UINT8_MAX),
                           uint64_t(INT16_MAX),
                           uint64_t(UINT16_MAX),
                           uint64_t(INT32_MAX),
                           uint64_t(1) << 31,
                           uint64_t(UINT32_MAX),
                           uint64_t(1) << 32,
                           UINT64_MAX / 24,
                           UINT64_MAX / 8 + 1,
                           uint64_t(INT64_MAX),
                           uint64_t(1) << 63,
                           UINT64_MAX - 31,
                           UINT64_MAX - 7,
                           UINT64_MAX}) {
      std::string mutant = sample.bytes;
      std::memcpy(mutant.data() + field.offset, &value, field.bytes);
      SCOPED_TRACE(testing::Message() << "field at " << field.offset << " = " << value);
      try_mutant(mutant);
    }
  }
  EXPECT_GT(tally_.opened, 50);
  EXPECT_GT(tally_.refused, 500);
}

TEST_P(GgufMutations, TruncatedAtEveryByteIsAlwaysRefused) {
  const Sample sample = make_sample(GetParam());
  for (size_t size = 0; size < sample.bytes.size(); ++size) {
    SCOPED_TRACE(testing::Message() << "cut at " << size);
    try_mutant(sample.bytes.substr(0, size));
    if (size % 8 == 1) try_mutant_file(sample.bytes.substr(0, size));
  }
  EXPECT_EQ(tally_.opened, 0);
}

TEST_P(GgufMutations, EachByteOfTheHeaderFlipped) {
  const Sample sample = make_sample(GetParam());
  for (size_t at = 0; at < sample.header_bytes; ++at)
    for (const uint8_t flip : {0x01, 0x80, 0xff, 0x20, 0x10}) {
      std::string mutant = sample.bytes;
      mutant[at] = char(uint8_t(mutant[at]) ^ flip);
      SCOPED_TRACE(testing::Message() << "byte " << at << " ^ " << int(flip));
      try_mutant(mutant);
      if (flip == 0xff) try_mutant_file(mutant);
    }
  EXPECT_GT(tally_.refused, 500);
}

TEST_P(GgufMutations, PairsOfFieldsTogether) {
  const Sample sample = make_sample(GetParam());
  for (const Field first : sample.fields)
    for (const Field second : sample.fields)
      for (const uint64_t value : {uint64_t(0), UINT64_MAX, uint64_t(1) << 31}) {
        std::string mutant = sample.bytes;
        std::memcpy(mutant.data() + first.offset, &value, first.bytes);
        std::memcpy(mutant.data() + second.offset, &value, second.bytes);
        try_mutant(mutant);
      }
}

INSTANTIATE_TEST_SUITE_P(Versions, GgufMutations, testing::Values(1u, 2u, 3u));

}  // namespace
}  // namespace metallic
