#include "safetensors/reader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

}  // namespace

SafetensorsFile::SafetensorsFile(MappedFile file, size_t data_begin, std::vector<SafetensorsTensor> tensors)
    : file_(std::move(file)), data_begin_(data_begin), tensors_(std::move(tensors)) {
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  METALLIC_ASSIGN(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() < kLengthBytes)
    return fail(ErrorCode::kCorrupt,
                "{}: the file has {} bytes; a safetensors file begins with 8 bytes of header length", path,
                bytes.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - kLengthBytes)
    return fail(ErrorCode::kCorrupt,
                "{}: the header is said to have {} bytes; the file has {} after the length, and the limit is {}", path,
                header_bytes, bytes.size() - kLengthBytes, kMaxHeaderBytes);
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, size_t(header_bytes));
  if (json.empty() || json.front() != '{')
    return fail(ErrorCode::kCorrupt, "{}: the header does not begin with '{{'; this is no safetensors file", path);
  const size_t data_begin = size_t(kLengthBytes + header_bytes);
  auto tensors = parse_safetensors_header(json, bytes.size() - data_begin);
  METALLIC_TRY(file.check_intact());  // what was parsed may have been zeros
  if (!tensors) return fail_while(path, tensors.error());
  return SafetensorsFile(std::move(file), data_begin, std::move(*tensors));
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> SafetensorsFile::data(const SafetensorsTensor& tensor) const {
  return file_.bytes().subspan(data_begin_ + size_t(tensor.begin), size_t(tensor.bytes));
}

void SafetensorsFile::release(const SafetensorsTensor& tensor) const { file_.release(data(tensor)); }

}  // namespace metallic
