#include "gguf/parse_header.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "gguf/cursor.h"
#include "gguf/parse_metadata.h"
#include "gguf/parse_tensors.h"

namespace metallic {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kNewestVersion = 3;

// What people mistake for a GGUF file, and what to tell them.
struct OtherKind {
  std::string_view start;
  const char* what;
};
constexpr OtherKind kOtherKinds[] = {
    {"version https://git-lfs", "a Git LFS pointer; fetch the file itself, for example with 'git lfs pull'"},
    {"<!DOCTYPE", "a web page; download the file itself"},
    {"<!doctype", "a web page; download the file itself"},
    {"<html", "a web page; download the file itself"},
    {"lmgg", "a GGML file, older than GGUF; convert the original model again"},
    {"fmgg", "a GGMF file, older than GGUF; convert the original model again"},
    {"tjgg", "a GGJT file, older than GGUF; convert the original model again"},
    {"algg", "a GGLA adapter, older than GGUF; convert the original adapter again"},
    {"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint; convert the model to GGUF"},
    {"\x1f\x8b", "compressed with gzip; unpack it first"},
    {"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"},
};

Status check_magic(Cursor& cursor) {
  const size_t size = size_t(std::min<uint64_t>(cursor.remaining(), 32));
  const std::string_view start(reinterpret_cast<const char*>(cursor.here()), size);
  if (start.starts_with(kMagic)) {
    cursor.skip(kMagic.size());
    return {};
  }
  for (const OtherKind& other : kOtherKinds)
    if (start.starts_with(other.start)) return cursor.corrupt_at(0, "this is not a GGUF file but {}", other.what);
  if (start.size() > 8 && start[8] == '{')
    return cursor.corrupt_at(0, "this is not a GGUF file but looks like safetensors; convert the model to GGUF");
  return cursor.corrupt_at(0, "this is not a GGUF file: it starts with '{}', expected 'GGUF'",
                           printable(start.substr(0, 4)));
}

Result<uint32_t> read_version(Cursor& cursor) {
  METALLIC_ASSIGN(const uint32_t version, cursor.read<uint32_t>("the version"));
  if (version >= 1 && version <= kNewestVersion) return version;
  if (version == 0) return cursor.corrupt_at(4, "GGUF version 0 does not exist; the file is damaged");
  if ((version & 0xffff) == 0)
    return cursor.error_at(
        ErrorCode::kUnsupported, 4,
        "the file is big-endian, which metallic does not read; convert it with 'gguf-convert-endian FILE "
        "little' (Python package gguf)");
  return cursor.error_at(
      ErrorCode::kUnsupported, 4,
      fmt::format("GGUF version {}, known are 1 to {}; the file is damaged, or newer than this metallic: "
                  "update metallic",
                  version, kNewestVersion));
}

Result<uint64_t> read_alignment(const Cursor& cursor, const GgufHeader& header) {
  const MetadataValue* value = header.find(kAlignmentKey);
  if (value == nullptr) return kDefaultAlignment;
  const auto entry = std::find_if(header.metadata.begin(), header.metadata.end(),
                                  [](const MetadataEntry& each) { return each.key == kAlignmentKey; });
  const uint64_t at = cursor.offset_of(entry->key);
  if (value->type() != MetadataType::kUint32)
    return cursor.corrupt_at(at, "key '{}' is of type {}, expected uint32; the file is damaged", kAlignmentKey,
                             metadata_type_name(value->type()));
  const uint64_t alignment = *value->as_unsigned();
  if (!is_valid_alignment(alignment))
    return cursor.corrupt_at(at, "key '{}' is {}, expected a power of two of at least {}; the file is damaged",
                             kAlignmentKey, alignment, kMinAlignment);
  return alignment;
}

}  // namespace

const MetadataValue* GgufHeader::find(std::string_view key) const {
  for (const MetadataEntry& entry : metadata)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

Result<GgufHeader> parse_gguf_header(std::string_view path, std::span<const std::byte> file, int file_index) {
  Cursor cursor(path, file);
  GgufHeader header;
  METALLIC_TRY(check_magic(cursor));
  METALLIC_ASSIGN(header.version, read_version(cursor));
  cursor.set_version(header.version);
  METALLIC_ASSIGN(const uint64_t tensor_count, cursor.read_count("the number of tensors"));
  METALLIC_ASSIGN(const uint64_t key_count, cursor.read_count("the number of metadata keys"));
  METALLIC_ASSIGN(header.metadata, parse_metadata(cursor, key_count));
  METALLIC_ASSIGN(header.alignment, read_alignment(cursor, header));
  METALLIC_ASSIGN(header.tensors, parse_tensors(cursor, tensor_count, header.alignment, file_index));
  header.bytes = cursor.offset();
  return header;
}

}  // namespace metallic
