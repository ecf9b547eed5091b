// Reads a GGUF file front to back. Every read checks what is left first and says, where it fails, at which byte and in
// which key or tensor: "FILE: at byte 24: key 'x': ...".
#pragma once

#include <fmt/core.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "metallic/result.h"

namespace metallic {

static_assert(std::endian::native == std::endian::little,
              "GGUF files are read in place, which takes a little-endian host");

class Cursor {
 public:
  // `path` is only for messages; `file` must outlive the cursor and every string that it returns.
  Cursor(std::string_view path, std::span<const std::byte> file);

  uint64_t offset() const { return offset_; }
  uint64_t file_bytes() const { return file_.size(); }
  uint64_t remaining() const { return file_.size() - offset_; }
  const std::byte* here() const { return file_.data() + offset_; }
  void skip(uint64_t bytes);  // at most remaining()

  // Counts and lengths are 64 bits wide since version 2.
  void set_version(uint32_t version) { count_bytes_ = version == 1 ? 4 : 8; }
  uint64_t count_bytes() const { return count_bytes_; }

  // What the following reads belong to, for messages: a kind ("key") and its name as it is in the file.
  void enter(std::string_view kind, std::string_view name) { kind_ = kind, name_ = name; }
  void leave() { kind_ = name_ = {}; }

  // `what` completes "the file ends inside ...".
  template <class T>
  Result<T> read(std::string_view what) {
    if (remaining() < sizeof(T)) return ended_inside(what, sizeof(T));
    T value;
    std::memcpy(&value, here(), sizeof(T));
    offset_ += sizeof(T);
    return value;
  }
  Result<uint64_t> read_count(std::string_view what);
  Result<std::string_view> read_string(std::string_view what);

  // Errors. The offset is where the offending bytes begin.
  template <class... Args>
  [[nodiscard]] tl::unexpected<Error> corrupt_at(uint64_t offset, fmt::format_string<Args...> format,
                                                 Args&&... args) const {
    return error_at(ErrorCode::kCorrupt, offset, fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] tl::unexpected<Error> error_at(ErrorCode code, uint64_t offset, std::string_view message) const;
  [[nodiscard]] tl::unexpected<Error> ended_inside(std::string_view what, uint64_t bytes) const;

  // The offset of a string that this cursor returned.
  uint64_t offset_of(std::string_view text) const {
    return uint64_t(reinterpret_cast<const std::byte*>(text.data()) - file_.data());
  }

 private:
  std::string_view path_;
  std::span<const std::byte> file_;
  uint64_t offset_ = 0;
  uint64_t count_bytes_ = 8;
  std::string_view kind_;
  std::string_view name_;
};

// A key or a tensor name: 1 to 65535 bytes of well-formed UTF-8 without NUL.
Result<std::string_view> read_name(Cursor& cursor, std::string_view what);

}  // namespace metallic
