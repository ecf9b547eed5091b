#include "convert/split_file.h"

#include <charconv>
#include <filesystem>

#include "base/checked_math.h"
#include "base/error.h"
#include "gguf/split.h"
#include "metallic/gguf.h"

namespace metallic::convert {
namespace {

// Tensors [begin, end) of the file, in its order.
struct Part {
  size_t begin = 0, end = 0;
};

std::vector<Part> plan_parts(const GgufFile& file, const SplitLimits& limits) {
  std::vector<Part> parts = {{0, 0}};
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    const uint64_t count = parts.back().end - parts.back().begin;
    const bool full =
        (limits.max_tensors != 0 && count >= limits.max_tensors) ||
        (limits.max_bytes != 0 && (tensor.bytes > limits.max_bytes || bytes > limits.max_bytes - tensor.bytes));
    if (full && count > 0) {
      parts.push_back({parts.back().end, parts.back().end});
      bytes = 0;
    }
    ++parts.back().end;
    bytes += tensor.bytes;
  }
  return parts;
}

bool is_split_key(std::string_view key) {
  return key == kSplitNumberKey || key == kSplitCountKey || key == kSplitTensorsKey;
}

void copy_metadata(const GgufFile& file, GgufWriter& writer) {
  for (const MetadataEntry& entry : file.metadata())
    if (!is_split_key(entry.key)) writer.copy(entry.key, entry.value);
}

Status write_tensors(const GgufFile& file, Part part, GgufWriter& writer, const std::string& path) {
  const auto tensors = file.tensors().subspan(part.begin, part.end - part.begin);
  for (const TensorInfo& tensor : tensors)
    METALLIC_TRY(writer.add_tensor(tensor.name, tensor.format, std::span(tensor.size).first(size_t(tensor.rank))));
  const auto data = [&](size_t index, uint64_t) -> Result<std::span<const std::byte>> {
    return file.tensor_data(tensors[index]);
  };
  return writer.write(path, data, [&] { return file.check_intact(); });
}

Status write_part(const GgufFile& file, const std::vector<Part>& parts, size_t number, const std::string& path) {
  GgufWriter writer(file.alignment());
  if (number == 0) copy_metadata(file, writer);
  writer.set(kSplitNumberKey, MetadataType::kUint16, uint64_t(number));
  writer.set(kSplitCountKey, MetadataType::kUint16, uint64_t(parts.size()));
  writer.set(kSplitTensorsKey, MetadataType::kInt32, int64_t(file.tensors().size()));
  return write_tensors(file, parts[number], writer, path);
}

}  // namespace

Result<uint64_t> parse_size(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const uint64_t scale = unit.empty() ? 1 : unit == "M" ? 1'000'000 : unit == "G" ? 1'000'000'000 : 0;
  const std::optional<uint64_t> bytes = checked_multiply(value, scale);
  if (error != std::errc() || !bytes || *bytes == 0)
    return fail(ErrorCode::kInvalidArgument, "'{}' is no size; 2G, 500M or a number of bytes is meant", text);
  return *bytes;
}

Result<std::vector<std::string>> split_gguf(const std::string& input, const std::string& prefix,
                                            const SplitLimits& limits) {
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(input));
  const std::vector<Part> parts = plan_parts(file, limits);
  constexpr size_t kMaxParts = 65535;  // split.count has 16 bits
  if (parts.size() > kMaxParts)
    return fail(ErrorCode::kInvalidArgument, "{}: {} parts are more than {}; allow larger ones", input, parts.size(),
                kMaxParts);
  std::vector<std::string> paths;
  for (size_t i = 0; i < parts.size(); ++i) {
    paths.push_back(split_part_path(prefix, i + 1, parts.size()));
    Status status = write_part(file, parts, i, paths.back());
    if (status) continue;
    paths.pop_back();
    std::error_code ignored;
    for (const std::string& path : paths) std::filesystem::remove(path, ignored);
    return tl::unexpected<Error>(status.error());
  }
  return paths;
}

Status merge_gguf(const std::string& part, const std::string& output) {
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(part));
  if (file.find(kSplitCountKey) == nullptr)
    return fail(ErrorCode::kInvalidArgument, "{}: is no part of a split model; it has no key {}", part, kSplitCountKey);
  GgufWriter writer(file.alignment());
  copy_metadata(file, writer);
  return write_tensors(file, {0, file.tensors().size()}, writer, output);
}

}  // namespace metallic::convert
