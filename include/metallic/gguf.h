// Reading and writing GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "metallic/format.h"
#include "metallic/result.h"

namespace metallic {

// The type ids of metadata values in the file.
enum class MetadataType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};
const char* metadata_type_name(MetadataType type);

class MetadataArray;

// One metadata value. Strings of a value that came from a file point into the file's mapping and live as long as its
// GgufFile.
class MetadataValue {
 public:
  using Storage = std::variant<uint64_t, int64_t, double, bool, std::string_view, std::shared_ptr<const MetadataArray>>;
  MetadataValue(MetadataType type, Storage storage) : type_(type), storage_(std::move(storage)) {}

  MetadataType type() const { return type_; }
  // Each gives the value if the stored type can hold it without loss: an integer of any width for the first two,
  // an integer or a float of any width for as_number.
  std::optional<uint64_t> as_unsigned() const;
  std::optional<int64_t> as_signed() const;
  std::optional<double> as_number() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;
  const MetadataArray* as_array() const;  // null if it is no array

 private:
  MetadataType type_;
  Storage storage_;
};

// An array of values of one type. Numbers stay in the file's bytes, unconverted; strings are views into them.
class MetadataArray {
 public:
  static MetadataArray of_numbers(MetadataType type, const std::byte* bytes, size_t count);  // bool counts as a number
  static MetadataArray of_strings(std::vector<std::string_view> strings);
  static MetadataArray of_arrays(std::vector<std::shared_ptr<const MetadataArray>> arrays);

  MetadataType element_type() const { return type_; }
  size_t size() const { return size_; }
  MetadataValue at(size_t index) const;  // index < size()
  // All elements at once: empty optional if the element type does not fit, as for MetadataValue.
  std::optional<std::span<const std::string_view>> strings() const;
  std::optional<std::vector<int64_t>> integers() const;
  std::optional<std::vector<double>> numbers() const;
  // The elements as in the file: little-endian, packed, of no particular alignment. Empty for strings and arrays.
  std::span<const std::byte> number_bytes() const;

 private:
  MetadataType type_ = MetadataType::kUint8;
  size_t size_ = 0;
  const std::byte* bytes_ = nullptr;
  std::vector<std::string_view> strings_;
  std::vector<std::shared_ptr<const MetadataArray>> arrays_;
};

struct MetadataEntry {
  std::string_view key;
  MetadataValue value;
};

// What the file says of one tensor.
struct TensorInfo {
  std::string_view name;
  Format format = Format::kF32;
  int rank = 0;                                 // 1 to 4 (0 for a scalar is read as rank 1, size 1)
  std::array<uint64_t, 4> size = {1, 1, 1, 1};  // as in the file: size[0] varies fastest; 1 beyond the rank
  uint64_t offset = 0;                          // of the first byte, from the start of its file
  uint64_t bytes = 0;
  int file = 0;  // index of the split file that holds it; 0 where there is one file

  uint64_t elements() const { return size[0] * size[1] * size[2] * size[3]; }  // checked at open: does not overflow
};

// An opened model file: one .gguf, or all parts of a split one. Everything that the header says has been checked
// against the real sizes of the files, so that no accessor can read outside a mapping. Immutable; safe to use from any
// thread. Movable; views stay valid when it moves.
class GgufFile {
 public:
  // Opens `path`. For a split model any part may be given (name-00001-of-00005.gguf); the others must lie beside it.
  // Errors: kNotFound, kIo, kCorrupt (says byte offset, key or tensor), kUnsupported (version, byte order, unknown
  // format).
  static Result<GgufFile> open(const std::string& path);

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const std::string& path() const;
  uint32_t version() const;
  uint64_t alignment() const;   // of tensor data, in bytes
  uint64_t file_bytes() const;  // of all parts
  int file_count() const;

  // Metadata in file order (of the first part, for a split model).
  std::span<const MetadataEntry> metadata() const;
  const MetadataValue* find(std::string_view key) const;  // null if absent

  // A required value: kNotFound if the key is absent, kCorrupt if it has another type; the message names file and key.
  Result<uint64_t> get_unsigned(std::string_view key) const;
  Result<double> get_number(std::string_view key) const;
  Result<bool> get_bool(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;
  Result<const MetadataArray*> get_array(std::string_view key) const;
  // An optional value: `fallback` if the key is absent; still kCorrupt if it has another type.
  Result<uint64_t> get_unsigned_or(std::string_view key, uint64_t fallback) const;
  Result<double> get_number_or(std::string_view key, double fallback) const;
  Result<bool> get_bool_or(std::string_view key, bool fallback) const;
  Result<std::string_view> get_string_or(std::string_view key, std::string_view fallback) const;

  std::span<const TensorInfo> tensors() const;  // in file order, all parts
  const TensorInfo* find_tensor(std::string_view name) const;
  std::span<const std::byte> tensor_data(const TensorInfo& info) const;  // `info` is one of tensors()

  // Says that the bytes of a tensor (or a part of them) are not needed soon: they no longer count as this process's
  // memory. Reading them again brings them back from the file.
  void release(const TensorInfo& info, std::span<const std::byte> part) const;
  void release(const TensorInfo& info) const { release(info, tensor_data(info)); }

  // One of the files: its name, and its descriptor for reads that go past the mapping; open as long as this object
  // lives.
  const std::string& file_path(int file) const;
  int descriptor(int file) const;

  // kIo if a file has been cut short since it was opened: what is gone reads as zero, in tensors and metadata alike.
  // Worth asking after weights have been read, and before an answer made from the mapping is handed out.
  Status check_intact() const;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Writes a GGUF v3 file. Metadata and tensors appear in the order they were added. Data is given when the file is
// written, so that tensors of any size can be streamed.
class GgufWriter {
 public:
  // `alignment`: a power of two, at least 8. Any but 32 adds the key general.alignment; setting that key changes the
  // alignment.
  explicit GgufWriter(uint64_t alignment = 32);
  ~GgufWriter();
  GgufWriter(GgufWriter&&) noexcept;

  // Adding a key again replaces its value. A key or value that cannot be written is reported by write().
  void set(std::string_view key, MetadataType scalar_type, const MetadataValue::Storage& value);
  void set_unsigned(std::string_view key, uint32_t value);
  void set_float(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_ints(std::string_view key, std::span<const int32_t> values);
  void set_floats(std::string_view key, std::span<const float> values);
  void copy(std::string_view key, const MetadataValue& value);  // deep: `value` may die afterwards

  // Declares a tensor; size[0] varies fastest. kInvalidArgument for a duplicate name, a rank above 4, or a first
  // dimension that is no multiple of the format's block.
  Status add_tensor(std::string_view name, Format format, std::span<const uint64_t> size);

  // Writes `path` through a temporary file beside it and an atomic rename. `data` is asked for the bytes of each tensor
  // in order (index, exact size wanted); the span must stay valid until the next call. On failure nothing is left
  // behind and a file that had the name before is untouched. It may be one that is open as a GgufFile.
  using DataSource = std::function<Result<std::span<const std::byte>>(size_t index, uint64_t bytes)>;
  // `before_commit`, if given, has the last word before the file gets its name: whether what the data came from is
  // still intact.
  Status write(const std::string& path, const DataSource& data,
               const std::function<Status()>& before_commit = nullptr) const;
  // Writes to an open descriptor instead, from where it stands; `name` is for error messages.
  Status write(int descriptor, const std::string& name, const DataSource& data) const;
  // The same with a hole in place of the data, which reads as zeros and takes no room: for whoever looks at the layout
  // alone.
  Status write_hollow(int descriptor, const std::string& name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace metallic
