// For tests only: builds the bytes of a GGUF file field by field, right or wrong, and puts them into temporary files.
#pragma once

#include <unistd.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace metallic {

// Bytes of a GGUF file, appended in file order. Version 1 has counts of 32 bits.
class GgufBytes {
 public:
  explicit GgufBytes(uint32_t version = 3) : version_(version) {}

  template <class T>
  GgufBytes& put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufBytes& raw(std::string_view bytes) { return bytes_ += bytes, *this; }
  GgufBytes& u32(uint32_t value) { return put(value); }
  GgufBytes& count(uint64_t value) { return version_ == 1 ? put(uint32_t(value)) : put(value); }
  GgufBytes& string(std::string_view text) { return count(text.size()).raw(text); }
  GgufBytes& pad(uint64_t alignment) {
    while (bytes_.size() % alignment != 0) bytes_ += '\0';
    return *this;
  }

  GgufBytes& header(uint64_t tensors, uint64_t keys) { return raw("GGUF").u32(version_).count(tensors).count(keys); }
  GgufBytes& key(std::string_view name, uint32_t type) { return string(name).u32(type); }
  template <class T>
  GgufBytes& number(std::string_view name, uint32_t type, T value) {
    return key(name, type).put(value);
  }
  GgufBytes& text(std::string_view name, std::string_view value) { return key(name, 8).string(value); }
  GgufBytes& array(uint32_t element_type, uint64_t length) { return u32(element_type).count(length); }
  GgufBytes& tensor(std::string_view name, std::initializer_list<uint64_t> size, uint32_t format, uint64_t offset) {
    string(name).u32(uint32_t(size.size()));
    for (const uint64_t each : size) count(each);
    return u32(format).put(offset);
  }

  const std::string& str() const { return bytes_; }

 private:
  uint32_t version_;
  std::string bytes_;
};

// A folder of its own that goes away with its files.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "metallic_gguf_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : std::string();
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string file(std::string_view name) const { return (path_ / std::filesystem::path(name)).string(); }
  std::string write(std::string_view name, std::string_view bytes) const {
    const std::string path = file(name);
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
    return path;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_whole_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace metallic
