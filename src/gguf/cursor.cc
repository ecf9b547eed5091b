#include "gguf/cursor.h"

#include "base/check.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"

namespace metallic {
namespace {

constexpr uint64_t kMaxNameBytes = 65535;

}  // namespace

Cursor::Cursor(std::string_view path, std::span<const std::byte> file) : path_(path), file_(file) {}

void Cursor::skip(uint64_t bytes) {
  METALLIC_CHECK(bytes <= remaining());
  offset_ += bytes;
}

Result<uint64_t> Cursor::read_count(std::string_view what) {
  if (count_bytes_ == 8) return read<uint64_t>(what);
  METALLIC_ASSIGN(const uint32_t count, read<uint32_t>(what));
  return count;
}

Result<std::string_view> Cursor::read_string(std::string_view what) {
  const uint64_t start = offset_;
  METALLIC_ASSIGN(const uint64_t length, read_count(what));
  if (length > remaining())
    return corrupt_at(start, "{} has a length of {} bytes, but only {} bytes follow; the file is truncated or damaged",
                      what, length, remaining());
  const std::string_view text(reinterpret_cast<const char*>(here()), size_t(length));
  offset_ += length;
  return text;
}

tl::unexpected<Error> Cursor::error_at(ErrorCode code, uint64_t offset, std::string_view message) const {
  std::string owner;
  if (!kind_.empty()) owner = fmt::format("{} '{}': ", kind_, printable(name_));
  return fail(code, "{}: at byte {}: {}{}", printable(path_, std::string::npos), offset, owner, message);
}

tl::unexpected<Error> Cursor::ended_inside(std::string_view what, uint64_t bytes) const {
  return corrupt_at(offset_, "the file ends inside {}: {} bytes needed, {} left; it is truncated or damaged", what,
                    bytes, remaining());
}

Result<std::string_view> read_name(Cursor& cursor, std::string_view what) {
  const uint64_t start = cursor.offset();
  METALLIC_ASSIGN(const std::string_view name, cursor.read_string(what));
  if (name.empty()) return cursor.corrupt_at(start, "{} is empty; the file is damaged", what);
  if (name.size() > kMaxNameBytes)
    return cursor.corrupt_at(start, "{} has {} bytes, at most {} are allowed; the file is damaged", what, name.size(),
                             kMaxNameBytes);
  if (const size_t bad = find_invalid_utf8(name); bad != std::string_view::npos)
    return cursor.corrupt_at(cursor.offset_of(name) + bad, "{} '{}' is not well-formed UTF-8; the file is damaged",
                             what, printable(name));
  if (const size_t nul = name.find('\0'); nul != std::string_view::npos)
    return cursor.corrupt_at(cursor.offset_of(name) + nul, "{} '{}' holds a zero byte; the file is damaged", what,
                             printable(name));
  return name;
}

}  // namespace metallic
