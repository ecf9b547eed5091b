// GgufWriter: gathers metadata as encoded bytes and tensors as infos; write() lays out the file and streams the data
// into it.
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/output_file.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "gguf/encode_metadata.h"
#include "gguf/metadata_type.h"

namespace metallic {
namespace {

constexpr uint32_t kVersion = 3;
constexpr size_t kMaxNameBytes = 65535;
constexpr uint64_t kMaxDataBytes = uint64_t(1) << 62;  // beyond any disk; sums with the header cannot overflow

struct Entry {
  std::string key;
  std::string value;  // type id and value, encoded
};

struct PendingTensor {
  std::string name;
  Format format;
  std::vector<uint64_t> size;
  uint64_t bytes = 0;
};

Status check_name(std::string_view what, std::string_view name) {
  if (!name.empty() && name.size() <= kMaxNameBytes && name.find('\0') == std::string_view::npos &&
      find_invalid_utf8(name) == std::string_view::npos)
    return {};
  return fail(ErrorCode::kInvalidArgument, "{} '{}' must be 1 to {} bytes of UTF-8 without zero bytes", what,
              printable(name), kMaxNameBytes);
}

// Bytes of a tensor's data, after all checks that the reader makes of a shape.
Result<uint64_t> data_bytes(std::string_view name, Format format, std::span<const uint64_t> size) {
  const FormatInfo& info = format_info(format);
  const auto invalid = [&](const std::string& reason) {
    return fail(ErrorCode::kInvalidArgument, "tensor '{}' of {} elements in {}: {}", printable(name),
                fmt::join(size, " x "), info.name, reason);
  };
  if (!format_from_id(uint32_t(format))) return invalid("GGUF files have no such format");
  if (size.empty() || size.size() > 4) return invalid(fmt::format("the rank is {}, it must be 1 to 4", size.size()));
  uint64_t elements = 1;
  for (const uint64_t each : size) {
    const std::optional<uint64_t> product = checked_multiply(elements, each);
    if (!product || *product == 0 || *product > uint64_t(std::numeric_limits<int64_t>::max()))
      return invalid("the number of elements must be 1 to 2^63 - 1");
    elements = *product;
  }
  if (size[0] % uint64_t(info.block_elements) != 0)
    return invalid(fmt::format("the first dimension must be a multiple of {}", info.block_elements));
  const std::optional<uint64_t> bytes = format_bytes(format, elements);
  if (!bytes) return invalid("its bytes exceed 2^64");
  return *bytes;
}

// Zeros up to the next multiple of `alignment` after `bytes` bytes.
Status write_padding(OutputFile& out, uint64_t bytes, uint64_t alignment) {
  static const std::array<std::byte, 4096> zeros{};
  uint64_t left = (alignment - bytes % alignment) % alignment;
  while (left > 0) {
    const size_t now = size_t(std::min<uint64_t>(left, zeros.size()));
    METALLIC_TRY(out.write(std::span(zeros).first(now)));
    left -= now;
  }
  return {};
}

}  // namespace

struct GgufWriter::Impl {
  struct Layout {
    std::string header;
    uint64_t data_bytes = 0;  // with padding
  };

  uint64_t alignment = kDefaultAlignment;
  std::vector<Entry> entries;
  std::unordered_map<std::string, size_t> entry_of;
  std::vector<PendingTensor> tensors;
  std::unordered_map<std::string, size_t> tensor_of;
  Status status;  // the first thing that set() or the constructor could not accept

  void reject(tl::unexpected<Error> error) {
    if (status) status = std::move(error);
  }
  void put(std::string_view key, const MetadataValue& value);
  Result<Layout> lay_out() const;
  Status write_data(OutputFile& out, const DataSource& data) const;
  Status write(OutputFile& out, const Layout& layout, const DataSource& data,
               const std::function<Status()>& before_commit) const;
};

void GgufWriter::Impl::put(std::string_view key, const MetadataValue& value) {
  if (Status named = check_name("the metadata key", key); !named) return reject(tl::unexpected<Error>(named.error()));
  Result<std::string> bytes = encode_metadata(value);
  if (!bytes) return reject(fail_while(fmt::format("metadata key '{}'", printable(key)), bytes.error()));
  if (key == kAlignmentKey) {
    const bool valid = value.type() == MetadataType::kUint32 && is_valid_alignment(*value.as_unsigned());
    if (!valid)
      return reject(fail(ErrorCode::kInvalidArgument,
                         "metadata key '{}' must be a uint32, a power of two and at least {}", key, kMinAlignment));
    alignment = *value.as_unsigned();
  }
  const auto [found, added] = entry_of.try_emplace(std::string(key), entries.size());
  if (added)
    entries.push_back({std::string(key), std::move(*bytes)});
  else
    entries[found->second].value = std::move(*bytes);
}

// Everything before the data, without the padding after it.
Result<GgufWriter::Impl::Layout> GgufWriter::Impl::lay_out() const {
  Layout layout{"GGUF", 0};
  std::string& out = layout.header;
  append_number(out, kVersion);
  append_number(out, uint64_t(tensors.size()));
  append_number(out, uint64_t(entries.size()));
  for (const Entry& entry : entries) {
    append_string(out, entry.key);
    out += entry.value;
  }
  for (const PendingTensor& tensor : tensors) {
    append_string(out, tensor.name);
    append_number(out, uint32_t(tensor.size.size()));
    for (const uint64_t each : tensor.size) append_number(out, each);
    append_number(out, uint32_t(tensor.format));
    append_number(out, layout.data_bytes);
    std::optional<uint64_t> end = checked_add(layout.data_bytes, tensor.bytes);
    if (end) end = checked_align(*end, alignment);
    if (!end || *end > kMaxDataBytes)
      return fail(ErrorCode::kInvalidArgument, "tensor '{}': the data of all tensors exceeds {} bytes",
                  printable(tensor.name), kMaxDataBytes);
    layout.data_bytes = *end;
  }
  return layout;
}

Status GgufWriter::Impl::write_data(OutputFile& out, const DataSource& data) const {
  for (size_t i = 0; i < tensors.size(); ++i) {
    METALLIC_ASSIGN(const std::span<const std::byte> bytes, data(i, tensors[i].bytes));
    if (bytes.size() != tensors[i].bytes)
      return fail(ErrorCode::kInvalidArgument, "tensor '{}': got {} bytes of data, expected {}",
                  printable(tensors[i].name), bytes.size(), tensors[i].bytes);
    METALLIC_TRY(out.write(bytes));
    METALLIC_TRY(write_padding(out, bytes.size(), alignment));
  }
  return {};
}

GgufWriter::GgufWriter(uint64_t alignment) : impl_(std::make_unique<Impl>()) {
  if (alignment != kDefaultAlignment) set(kAlignmentKey, MetadataType::kUint32, alignment);
}
GgufWriter::~GgufWriter() = default;
GgufWriter::GgufWriter(GgufWriter&&) noexcept = default;

void GgufWriter::set(std::string_view key, MetadataType scalar_type, const MetadataValue::Storage& value) {
  impl_->put(key, MetadataValue(scalar_type, value));
}
void GgufWriter::set_unsigned(std::string_view key, uint32_t value) {
  set(key, MetadataType::kUint32, uint64_t(value));
}
void GgufWriter::set_float(std::string_view key, float value) { set(key, MetadataType::kFloat32, double(value)); }
void GgufWriter::set_bool(std::string_view key, bool value) { set(key, MetadataType::kBool, value); }
void GgufWriter::set_string(std::string_view key, std::string_view value) { set(key, MetadataType::kString, value); }

void GgufWriter::set_strings(std::string_view key, std::span<const std::string> values) {
  auto array = MetadataArray::of_strings({values.begin(), values.end()});
  set(key, MetadataType::kArray, std::make_shared<const MetadataArray>(std::move(array)));
}
void GgufWriter::set_ints(std::string_view key, std::span<const int32_t> values) {
  auto array = MetadataArray::of_numbers(MetadataType::kInt32, std::as_bytes(values).data(), values.size());
  set(key, MetadataType::kArray, std::make_shared<const MetadataArray>(std::move(array)));
}
void GgufWriter::set_floats(std::string_view key, std::span<const float> values) {
  auto array = MetadataArray::of_numbers(MetadataType::kFloat32, std::as_bytes(values).data(), values.size());
  set(key, MetadataType::kArray, std::make_shared<const MetadataArray>(std::move(array)));
}
void GgufWriter::copy(std::string_view key, const MetadataValue& value) { impl_->put(key, value); }

Status GgufWriter::add_tensor(std::string_view name, Format format, std::span<const uint64_t> size) {
  METALLIC_TRY(check_name("the tensor name", name));
  METALLIC_ASSIGN(const uint64_t bytes, data_bytes(name, format, size));
  if (!impl_->tensor_of.try_emplace(std::string(name), impl_->tensors.size()).second)
    return fail(ErrorCode::kInvalidArgument, "tensor '{}' has been added already", printable(name));
  impl_->tensors.push_back({std::string(name), format, {size.begin(), size.end()}, bytes});
  return {};
}

Status GgufWriter::Impl::write(OutputFile& out, const Layout& layout, const DataSource& data,
                               const std::function<Status()>& before_commit) const {
  METALLIC_TRY(out.write(std::as_bytes(std::span(layout.header))));
  METALLIC_TRY(write_padding(out, layout.header.size(), alignment));
  const Status written = write_data(out, data);
  if (before_commit) METALLIC_TRY(before_commit());  // says why, if the data could not be had
  METALLIC_TRY(written);
  return out.commit();
}

Status GgufWriter::write(const std::string& path, const DataSource& data,
                         const std::function<Status()>& before_commit) const {
  if (!impl_->status) return fail_while(path, impl_->status.error());
  METALLIC_ASSIGN(const Impl::Layout layout, impl_->lay_out());
  const uint64_t expected = *checked_align(layout.header.size(), impl_->alignment) + layout.data_bytes;
  METALLIC_ASSIGN(OutputFile out, OutputFile::create(path, expected));
  return impl_->write(out, layout, data, before_commit);
}

Status GgufWriter::write(int descriptor, const std::string& name, const DataSource& data) const {
  if (!impl_->status) return fail_while(name, impl_->status.error());
  METALLIC_ASSIGN(const Impl::Layout layout, impl_->lay_out());
  METALLIC_ASSIGN(OutputFile out, OutputFile::over(descriptor, name));
  return impl_->write(out, layout, data, nullptr);
}

Status GgufWriter::write_hollow(int descriptor, const std::string& name) const {
  if (!impl_->status) return fail_while(name, impl_->status.error());
  METALLIC_ASSIGN(const Impl::Layout layout, impl_->lay_out());
  METALLIC_ASSIGN(OutputFile out, OutputFile::over(descriptor, name));
  METALLIC_TRY(out.write(std::as_bytes(std::span(layout.header))));
  METALLIC_TRY(out.commit());
  const uint64_t end = *checked_align(layout.header.size(), impl_->alignment) + layout.data_bytes;
  if (::ftruncate(descriptor, off_t(end)) == 0) return {};
  return fail(ErrorCode::kIo, "{}: cannot make a file of {} bytes: {}", name, end, std::strerror(errno));
}

}  // namespace metallic
