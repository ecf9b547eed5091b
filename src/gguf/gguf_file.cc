// GgufFile: what open_parts() found, joined, and the way to look things up in it.
#include <exception>

#include "base/check.h"
#include "base/error.h"
#include "base/printable.h"
#include "gguf/name_index.h"
#include "gguf/open_parts.h"

namespace metallic {

struct GgufFile::Impl {
  std::string path;  // as given to open()
  std::vector<GgufPart> parts;
  std::vector<TensorInfo> tensors;  // of all parts
  NameIndex keys;                   // of the first part
  NameIndex names;
  uint64_t bytes = 0;

  const GgufHeader& header() const { return parts.front().header; }
};

namespace {

std::vector<TensorInfo> join_tensors(const std::vector<GgufPart>& parts) {
  std::vector<TensorInfo> tensors;
  for (size_t i = 0; i < parts.size(); ++i)
    for (TensorInfo info : parts[i].header.tensors) {
      info.file = int(i);
      tensors.push_back(info);
    }
  return tensors;
}

std::string describe(const MetadataValue& value) {
  const char* type = metadata_type_name(value.type());
  if (const auto number = value.as_unsigned()) return fmt::format("the {} {}", type, *number);
  if (const auto number = value.as_signed()) return fmt::format("the {} {}", type, *number);
  if (const auto number = value.as_number()) return fmt::format("the {} {}", type, *number);
  if (const auto flag = value.as_bool()) return fmt::format("the bool {}", *flag);
  if (const auto text = value.as_string()) return fmt::format("the string '{}'", printable(*text, 40));
  return fmt::format("of type {}", type);
}

// The value of `key` as `convert` reads it; `expected` is for the message.
template <class T>
Result<T> require(const GgufFile& file, std::string_view key, std::optional<T> (MetadataValue::*convert)() const,
                  const char* expected) {
  const MetadataValue* value = file.find(key);
  if (value == nullptr)
    return fail(ErrorCode::kNotFound, "{}: the metadata key '{}' is missing; expected {}", file.path(), printable(key),
                expected);
  if (const std::optional<T> converted = (value->*convert)()) return *converted;
  return fail(ErrorCode::kCorrupt, "{}: the metadata key '{}' is {}; expected {}", file.path(), printable(key),
              describe(*value), expected);
}

constexpr const char* kUnsignedExpected = "an integer that is not negative";
constexpr const char* kNumberExpected = "a number";
constexpr const char* kBoolExpected = "a bool";
constexpr const char* kStringExpected = "a string";
constexpr const char* kArrayExpected = "an array";

}  // namespace

Result<GgufFile> GgufFile::open(const std::string& path) try {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  METALLIC_ASSIGN(impl->parts, open_parts(path));
  for (const GgufPart& part : impl->parts) impl->bytes += part.file.bytes().size();
  impl->tensors = join_tensors(impl->parts);
  impl->keys = index_names(impl->header().metadata, &MetadataEntry::key);
  impl->names = index_names(impl->tensors, &TensorInfo::name);
  if (const auto twice = impl->names.duplicate()) {  // inside one part this was an error already
    const TensorInfo& first = impl->tensors[twice->first];
    const TensorInfo& second = impl->tensors[twice->second];
    return fail(ErrorCode::kCorrupt, "{}: tensor '{}' is also in {}; the parts do not belong together",
                impl->parts[size_t(second.file)].file.path(), printable(second.name),
                impl->parts[size_t(first.file)].file.path());
  }
  return GgufFile(std::move(impl));
} catch (const std::exception& error) {  // bad_alloc or length_error
  return fail(ErrorCode::kOutOfMemory, "{}: not enough memory for its header ({})", path, error.what());
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

const std::string& GgufFile::path() const { return impl_->path; }
uint32_t GgufFile::version() const { return impl_->header().version; }
uint64_t GgufFile::alignment() const { return impl_->header().alignment; }
uint64_t GgufFile::file_bytes() const { return impl_->bytes; }
int GgufFile::file_count() const { return int(impl_->parts.size()); }

std::span<const MetadataEntry> GgufFile::metadata() const { return impl_->header().metadata; }

const MetadataValue* GgufFile::find(std::string_view key) const {
  const std::optional<size_t> index = impl_->keys.find(key);
  return index ? &impl_->header().metadata[*index].value : nullptr;
}

Result<uint64_t> GgufFile::get_unsigned(std::string_view key) const {
  return require(*this, key, &MetadataValue::as_unsigned, kUnsignedExpected);
}
Result<double> GgufFile::get_number(std::string_view key) const {
  return require(*this, key, &MetadataValue::as_number, kNumberExpected);
}
Result<bool> GgufFile::get_bool(std::string_view key) const {
  return require(*this, key, &MetadataValue::as_bool, kBoolExpected);
}
Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  return require(*this, key, &MetadataValue::as_string, kStringExpected);
}
Result<const MetadataArray*> GgufFile::get_array(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr)
    return fail(ErrorCode::kNotFound, "{}: the metadata key '{}' is missing; expected {}", path(), printable(key),
                kArrayExpected);
  if (const MetadataArray* array = value->as_array()) return array;
  return fail(ErrorCode::kCorrupt, "{}: the metadata key '{}' is {}; expected {}", path(), printable(key),
              describe(*value), kArrayExpected);
}

Result<uint64_t> GgufFile::get_unsigned_or(std::string_view key, uint64_t fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_unsigned(key);
}
Result<double> GgufFile::get_number_or(std::string_view key, double fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_number(key);
}
Result<bool> GgufFile::get_bool_or(std::string_view key, bool fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_bool(key);
}
Result<std::string_view> GgufFile::get_string_or(std::string_view key, std::string_view fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_string(key);
}

std::span<const TensorInfo> GgufFile::tensors() const { return impl_->tensors; }

const TensorInfo* GgufFile::find_tensor(std::string_view name) const {
  const std::optional<size_t> index = impl_->names.find(name);
  return index ? &impl_->tensors[*index] : nullptr;
}

std::span<const std::byte> GgufFile::tensor_data(const TensorInfo& info) const {
  METALLIC_CHECK(info.file >= 0 && size_t(info.file) < impl_->parts.size());
  const std::span<const std::byte> file = impl_->parts[size_t(info.file)].file.bytes();
  METALLIC_CHECK(info.offset <= file.size() && info.bytes <= file.size() - info.offset);
  return file.subspan(size_t(info.offset), size_t(info.bytes));
}

void GgufFile::release(const TensorInfo& info, std::span<const std::byte> part) const {
  METALLIC_CHECK(info.file >= 0 && size_t(info.file) < impl_->parts.size());
  impl_->parts[size_t(info.file)].file.release(part);
}

const std::string& GgufFile::file_path(int file) const {
  METALLIC_CHECK(file >= 0 && size_t(file) < impl_->parts.size());
  return impl_->parts[size_t(file)].file.path();
}
int GgufFile::descriptor(int file) const {
  METALLIC_CHECK(file >= 0 && size_t(file) < impl_->parts.size());
  return impl_->parts[size_t(file)].file.descriptor();
}

Status GgufFile::check_intact() const {
  for (const GgufPart& part : impl_->parts) METALLIC_TRY(part.file.check_intact());
  return {};
}

}  // namespace metallic
