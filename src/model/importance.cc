#include "model/importance.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/output_file.h"
#include "base/printable.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

constexpr std::string_view kSumSuffix = ".in_sum2";
constexpr std::string_view kCountSuffix = ".counts";

std::vector<float> floats_of(const GgufFile& file, const TensorInfo& info) {
  const std::span<const std::byte> data = file.tensor_data(info);
  std::vector<float> values(data.size() / sizeof(float));
  std::memcpy(values.data(), data.data(), values.size() * sizeof(float));
  return values;
}

Status check_values(const std::string& path, const std::string& name, const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!(values[i] >= 0) || !std::isfinite(values[i]))
      return fail(ErrorCode::kCorrupt, "{}: importance of '{}': number {} is {}, expected a finite one >= 0", path,
                  printable(name), i, values[i]);
  return {};
}

Result<ImportanceMatrix> read_gguf(const std::string& path) {
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(path));
  METALLIC_ASSIGN(const std::string_view type, file.get_string_or("general.type", ""));
  if (type != "imatrix")
    return fail(ErrorCode::kCorrupt, "{}: is no importance matrix: general.type is '{}', expected 'imatrix'", path,
                printable(type));
  ImportanceMatrix result;
  if (const MetadataValue* value = file.find("imatrix.datasets"); value != nullptr && value->as_array() != nullptr)
    if (const auto names = value->as_array()->strings()) result.datasets.assign(names->begin(), names->end());
  METALLIC_ASSIGN(const uint64_t chunks, file.get_unsigned_or("imatrix.chunk_count", 0));
  METALLIC_ASSIGN(const uint64_t chunk_tokens, file.get_unsigned_or("imatrix.chunk_size", 0));
  result.chunks = uint32_t(chunks);
  result.chunk_tokens = uint32_t(chunk_tokens);
  for (const TensorInfo& info : file.tensors()) {
    if (!info.name.ends_with(kSumSuffix)) continue;
    const std::string name(info.name.substr(0, info.name.size() - kSumSuffix.size()));
    const TensorInfo* const counts = file.find_tensor(name + std::string(kCountSuffix));
    const bool fits = counts != nullptr && counts->format == Format::kF32 && info.format == Format::kF32 &&
                      counts->elements() == info.elements() / info.size[0];
    if (!fits)
      return fail(ErrorCode::kCorrupt, "{}: '{}' needs a tensor '{}{}' beside it, both F32, with one count per row",
                  path, printable(info.name), printable(name), kCountSuffix);
    TensorImportance& tensor = result.tensors[name];
    tensor.columns = int64_t(info.size[0]);
    tensor.sums = floats_of(file, info);
    tensor.counts = floats_of(file, *counts);
    METALLIC_TRY(check_values(path, name, tensor.sums));
    METALLIC_TRY(check_values(path, name, tensor.counts));
  }
  METALLIC_TRY(file.check_intact());
  return result;
}

// Reads the older file front to back: int32 entries; each int32 name length, name, int32 calls, int32 values, floats
// (mean squares times calls). Newer ones go on: int32 chunks, int32 length of the dataset's name, the name.
class LegacyReader {
 public:
  LegacyReader(const std::string& path, std::span<const std::byte> bytes) : path_(path), bytes_(bytes) {}

  Result<ImportanceMatrix> read() {
    METALLIC_ASSIGN(const int32_t entries, number("the number of entries", bytes_.size()));
    ImportanceMatrix result;
    for (int32_t i = 0; i < entries; ++i) METALLIC_TRY(read_entry(result));
    if (left() == 0) return result;
    METALLIC_ASSIGN(const int32_t chunks, number("the number of chunks", size_t(INT32_MAX)));
    METALLIC_ASSIGN(const std::string dataset, text("the name of the text"));
    result.chunks = uint32_t(chunks);
    result.datasets = {dataset};
    return result;
  }

 private:
  Status read_entry(ImportanceMatrix& result) {
    METALLIC_ASSIGN(const std::string name, text("a name"));
    METALLIC_ASSIGN(const int32_t calls, number("a count of calls", size_t(INT32_MAX)));
    METALLIC_ASSIGN(const int32_t values, number("a count of values", left() / sizeof(float)));
    TensorImportance& tensor = result.tensors[name];
    tensor.columns = values;
    tensor.sums.resize(size_t(values));
    tensor.counts = {float(std::max(calls, 1))};
    METALLIC_TRY(take(tensor.sums.data(), tensor.sums.size() * sizeof(float), "values"));
    return check_values(path_, name, tensor.sums);
  }

  size_t left() const { return bytes_.size() - at_; }

  Status take(void* to, size_t size, const char* what) {
    if (size > left())
      return fail(ErrorCode::kCorrupt, "{}: is no importance matrix: it ends at byte {} inside {}", path_,
                  bytes_.size(), what);
    if (size > 0) std::memcpy(to, bytes_.data() + at_, size);
    at_ += size;
    return {};
  }

  Result<std::string> text(const char* what) {
    METALLIC_ASSIGN(const int32_t size, number("a length", left()));
    std::string result(size_t(size), '\0');
    METALLIC_TRY(take(result.data(), result.size(), what));
    return result;
  }

  // A number of 0 to `most`.
  Result<int32_t> number(const char* what, size_t most) {
    int32_t value = 0;
    METALLIC_TRY(take(&value, sizeof(value), what));
    if (value < 0 || size_t(value) > most)
      return fail(ErrorCode::kCorrupt, "{}: is no importance matrix: at byte {}, {} is {}, expected 0 to {}", path_,
                  at_ - sizeof(value), what, value, most);
    return value;
  }

  const std::string& path_;
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

}  // namespace

std::vector<float> TensorImportance::mean_squares() const {
  std::vector<float> result(sums);
  for (int64_t matrix = 0; matrix < matrices(); ++matrix) {
    const float count = counts[size_t(matrix)];
    for (int64_t i = matrix * columns; i < (matrix + 1) * columns; ++i)
      result[size_t(i)] = count > 0 ? result[size_t(i)] / count : 1.0f;
  }
  return result;
}

Result<ImportanceMatrix> ImportanceMatrix::read(const std::string& path) {
  METALLIC_ASSIGN(const MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) return read_gguf(path);
  return LegacyReader(path, bytes).read();
}

Status ImportanceMatrix::write(const std::string& path) const {
  GgufWriter writer;
  writer.set_string("general.type", "imatrix");
  writer.set_strings("imatrix.datasets", datasets);
  writer.set_unsigned("imatrix.chunk_count", chunks);
  writer.set_unsigned("imatrix.chunk_size", chunk_tokens);
  std::vector<std::span<const float>> data;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t sum_size[] = {uint64_t(tensor.columns), uint64_t(tensor.matrices())};
    const uint64_t count_size[] = {1, uint64_t(tensor.matrices())};
    METALLIC_TRY(writer.add_tensor(name + std::string(kSumSuffix), Format::kF32, sum_size));
    METALLIC_TRY(writer.add_tensor(name + std::string(kCountSuffix), Format::kF32, count_size));
    data.push_back(tensor.sums);
    data.push_back(tensor.counts);
  }
  return writer.write(
      path, [&](size_t index, uint64_t) -> Result<std::span<const std::byte>> { return std::as_bytes(data[index]); });
}

Status ImportanceMatrix::write_legacy(const std::string& path) const {
  const auto calls = int32_t(std::max(1u, chunks));
  std::string bytes;
  const auto put = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  const auto put_text = [&](const std::string& text) {
    put(int32_t(text.size()));
    bytes += text;
  };
  put(int32_t(tensors.size()));
  for (const auto& [name, tensor] : tensors) {
    put_text(name);
    put(calls);
    put(int32_t(tensor.sums.size()));
    for (const float mean : tensor.mean_squares()) put(mean * float(calls));
  }
  put(int32_t(chunks));
  put_text(datasets.empty() ? "" : datasets.front());
  METALLIC_ASSIGN(OutputFile out, OutputFile::create(path));
  METALLIC_TRY(out.write(std::as_bytes(std::span(bytes))));
  return out.commit();
}

}  // namespace metallic
