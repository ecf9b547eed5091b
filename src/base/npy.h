// NumPy's .npy files: one array of numbers, in C order (the last index varies fastest), little-endian.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "metallic/result.h"

namespace metallic {

enum class NpyType { kFloat32, kFloat64, kInt8, kInt16, kInt32, kInt64 };
size_t npy_type_bytes(NpyType type);

template <class T>
constexpr NpyType npy_type_of();
template <>
constexpr NpyType npy_type_of<float>() {
  return NpyType::kFloat32;
}
template <>
constexpr NpyType npy_type_of<double>() {
  return NpyType::kFloat64;
}
template <>
constexpr NpyType npy_type_of<int8_t>() {
  return NpyType::kInt8;
}
template <>
constexpr NpyType npy_type_of<int16_t>() {
  return NpyType::kInt16;
}
template <>
constexpr NpyType npy_type_of<int32_t>() {
  return NpyType::kInt32;
}
template <>
constexpr NpyType npy_type_of<int64_t>() {
  return NpyType::kInt64;
}

// Writes an array piece by piece, so that it never has to be in memory whole. The file appears at finish().
class NpyWriter {
 public:
  // `shape` is in NumPy's order, outermost first; empty for a scalar.
  static Result<NpyWriter> create(const std::string& path, NpyType type, std::span<const uint64_t> shape);

  Status append(std::span<const std::byte> elements);  // the next elements of the array
  Status finish();                                     // after all elements have been appended

 private:
  NpyWriter(OutputFile file, uint64_t remaining) : file_(std::move(file)), remaining_(remaining) {}

  OutputFile file_;
  uint64_t remaining_;  // bytes
};

// Writes a whole array. `elements` holds the product of `shape`.
template <class T>
Status write_npy(const std::string& path, std::span<const uint64_t> shape, std::span<const T> elements) {
  auto writer = NpyWriter::create(path, npy_type_of<T>(), shape);
  if (!writer) return tl::unexpected<Error>(writer.error());
  if (Status status = writer->append(std::as_bytes(elements)); !status) return status;
  return writer->finish();
}

struct NpyArray {
  NpyType type = NpyType::kFloat32;
  std::vector<uint64_t> shape;   // outermost first
  std::vector<std::byte> bytes;  // of all elements

  // The elements, if they are of type T.
  template <class T>
  std::optional<std::span<const T>> as() const {
    if (type != npy_type_of<T>()) return std::nullopt;
    return std::span<const T>(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
  }
};

// Reads a file of one of the types above, of format version 1 to 3. kCorrupt if it is damaged, kUnsupported for other
// element types, big-endian elements and Fortran order.
Result<NpyArray> read_npy(const std::string& path);

}  // namespace metallic
