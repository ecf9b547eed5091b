#include "base/npy.h"

#include <bit>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace metallic {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the elements of .npy files are written as they lie in memory");

struct TypeInfo {
  NpyType type;
  const char* description;  // NumPy's "descr"
  size_t bytes;
};

constexpr TypeInfo kTypes[] = {{NpyType::kFloat32, "<f4", 4}, {NpyType::kFloat64, "<f8", 8},
                               {NpyType::kInt8, "|i1", 1},    {NpyType::kInt16, "<i2", 2},
                               {NpyType::kInt32, "<i4", 4},   {NpyType::kInt64, "<i8", 8}};

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;  // of the elements, from the start of the file

const TypeInfo& type_info(NpyType type) {
  for (const TypeInfo& info : kTypes)
    if (info.type == type) return info;
  METALLIC_CHECK(false && "unknown NpyType");
  return kTypes[0];
}

std::optional<uint64_t> array_bytes(NpyType type, std::span<const uint64_t> shape) {
  std::optional<uint64_t> bytes = npy_type_bytes(type);
  for (uint64_t size : shape)
    if (bytes) bytes = checked_multiply(*bytes, size);
  return bytes;
}

std::string shape_text(std::span<const uint64_t> shape) {
  std::string text = "(";
  for (uint64_t size : shape) text += fmt::format("{}, ", size);
  if (shape.size() == 1) text.pop_back();  // (3,)
  if (shape.size() > 1) text.resize(text.size() - 2);
  return text + ")";
}

// Reads the header: a Python dictionary literal with the keys descr, fortran_order and shape.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  struct Header {
    std::optional<std::string_view> description;
    std::optional<bool> fortran_order;
    std::optional<std::vector<uint64_t>> shape;
  };

  // None if the text is not such a dictionary.
  std::optional<Header> parse() {
    Header header;
    if (!accept("{")) return std::nullopt;
    while (!accept("}")) {
      const std::optional<std::string_view> key = string();
      if (!key || !accept(":") || !value(*key, header)) return std::nullopt;
      if (accept(",")) continue;
      if (!accept("}")) return std::nullopt;
      break;
    }
    skip_space();
    if (!text_.empty() || !header.description || !header.fortran_order || !header.shape) return std::nullopt;
    return header;
  }

 private:
  bool value(std::string_view key, Header& header) {
    if (key == "descr") return (header.description = string()).has_value();
    if (key == "shape") return (header.shape = tuple()).has_value();
    if (key != "fortran_order") return false;
    if (accept("True"))
      header.fortran_order = true;
    else if (accept("False"))
      header.fortran_order = false;
    return header.fortran_order.has_value();
  }

  std::optional<std::string_view> string() {
    const char quote = accept("'") ? '\'' : accept("\"") ? '"' : '\0';
    const size_t end = quote == '\0' ? std::string_view::npos : text_.find(quote);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view content = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return content;
  }

  std::optional<std::vector<uint64_t>> tuple() {
    std::vector<uint64_t> sizes;
    if (!accept("(")) return std::nullopt;
    while (!accept(")")) {
      const std::optional<uint64_t> size = number();
      if (!size) return std::nullopt;
      sizes.push_back(*size);
      if (accept(",")) continue;
      if (!accept(")")) return std::nullopt;
      break;
    }
    return sizes;
  }

  std::optional<uint64_t> number() {
    skip_space();
    std::optional<uint64_t> value;
    for (; !text_.empty() && text_[0] >= '0' && text_[0] <= '9'; text_.remove_prefix(1)) {
      value = checked_multiply(value.value_or(0), 10);
      if (value) value = checked_add(*value, uint64_t(text_[0] - '0'));
      if (!value) return std::nullopt;
    }
    return value;
  }

  bool accept(std::string_view token) {
    skip_space();
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }

  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t')) text_.remove_prefix(1);
  }

  std::string_view text_;
};

// Splits a file into the text of its header and the bytes of its elements.
Result<std::pair<std::string_view, std::span<const std::byte>>> split_file(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic))
    return fail(ErrorCode::kCorrupt, "{}: not an .npy file: its first bytes are not \\x93NUMPY", file.path());
  if (text.size() < 10)
    return fail(ErrorCode::kCorrupt, "{}: ends after {} bytes, in its header", file.path(), text.size());
  const int version = uint8_t(text[6]);
  if (version < 1 || version > 3)
    return fail(ErrorCode::kUnsupported, "{}: is of .npy version {}; versions 1 to 3 can be read", file.path(),
                version);
  const size_t start = version == 1 ? 10 : 12;  // version 1 gives the header's length in 2 bytes, later ones in 4
  uint32_t length = 0;
  if (text.size() >= start) std::memcpy(&length, text.data() + 8, start - 8);
  if (text.size() < start + uint64_t(length))
    return fail(ErrorCode::kCorrupt, "{}: ends after {} bytes, in its header", file.path(), text.size());
  return std::pair(text.substr(start, length), bytes.subspan(start + length));
}

}  // namespace

size_t npy_type_bytes(NpyType type) { return type_info(type).bytes; }

Result<NpyWriter> NpyWriter::create(const std::string& path, NpyType type, std::span<const uint64_t> shape) {
  const std::optional<uint64_t> bytes = array_bytes(type, shape);
  if (!bytes)
    return fail(ErrorCode::kInvalidArgument, "{}: an array of shape {} is too large", path, shape_text(shape));
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                                   type_info(type).description, shape_text(shape));
  const size_t prefix = kMagic.size() + 4;
  header.append(kAlignment - 1 - (prefix + header.size()) % kAlignment, ' ');
  header += '\n';
  METALLIC_CHECK(header.size() <= 0xffff);

  METALLIC_ASSIGN(OutputFile file, OutputFile::create(path));
  std::string start(kMagic);
  start += '\x01';
  start += '\x00';
  start += char(header.size() & 0xff);
  start += char(header.size() >> 8);
  start += header;
  METALLIC_TRY(file.write(std::as_bytes(std::span(start))));
  return NpyWriter(std::move(file), *bytes);
}

Status NpyWriter::append(std::span<const std::byte> elements) {
  METALLIC_CHECK(elements.size() <= remaining_);
  remaining_ -= elements.size();
  return file_.write(elements);
}

Status NpyWriter::finish() {
  METALLIC_CHECK(remaining_ == 0);
  return file_.commit();
}

Result<NpyArray> read_npy(const std::string& path) {
  METALLIC_ASSIGN(const MappedFile file, MappedFile::open(path));
  METALLIC_ASSIGN(const auto parts, split_file(file));
  const std::optional<HeaderParser::Header> header = HeaderParser(parts.first).parse();
  if (!header)
    return fail(ErrorCode::kCorrupt, "{}: its header is no dictionary of descr, fortran_order and shape", path);

  NpyArray array;
  array.shape = *header->shape;
  const TypeInfo* known = nullptr;
  for (const TypeInfo& info : kTypes)
    if (*header->description == info.description) known = &info;
  if (known == nullptr)
    return fail(ErrorCode::kUnsupported,
                "{}: its elements are of type '{}'; save it as float32 or int32, little-endian", path,
                *header->description);
  if (*header->fortran_order && array.shape.size() > 1)
    return fail(ErrorCode::kUnsupported, "{}: is in Fortran order; save numpy.ascontiguousarray of it", path);
  array.type = known->type;
  const std::optional<uint64_t> bytes = array_bytes(array.type, array.shape);
  if (!bytes || *bytes != parts.second.size())
    return fail(ErrorCode::kCorrupt, "{}: holds {} bytes of elements; its shape {} of '{}' needs {}", path,
                parts.second.size(), shape_text(array.shape), known->description,
                bytes ? fmt::format("{}", *bytes) : "more than a file can hold");
  array.bytes.assign(parts.second.begin(), parts.second.end());
  return array;
}

}  // namespace metallic
