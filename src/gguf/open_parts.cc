#include "gguf/open_parts.h"

#include "base/error.h"
#include "base/printable.h"
#include "gguf/split.h"

namespace metallic {
namespace {

struct OpenedPart {
  GgufPart part;
  SplitKeys keys;
};

Result<OpenedPart> open_part(const std::string& path) {
  METALLIC_ASSIGN(MappedFile file, MappedFile::open(path));
  Result<GgufHeader> header = parse_gguf_header(path, file.bytes(), 0);
  METALLIC_TRY(file.check_intact());  // what was parsed may have been zeros
  if (!header) return tl::unexpected<Error>(std::move(header.error()));
  METALLIC_ASSIGN(const SplitKeys keys, read_split_keys(path, *header));
  return OpenedPart{GgufPart{std::move(file), std::move(*header)}, keys};
}

// `number` counts from 1.
Status check_place(const std::string& path, const SplitKeys& keys, uint64_t number, uint64_t count) {
  if (keys.number + 1 == number && keys.count == count) return {};
  return fail(ErrorCode::kCorrupt,
              "{}: its metadata says part {} of {}, its name part {} of {}; rename it or download it again", path,
              keys.number + 1, keys.count, number, count);
}

Result<GgufPart> open_sibling(const std::string& path, uint64_t number, const std::string& given,
                              const SplitKeys& keys) {
  Result<OpenedPart> opened = open_part(path);
  if (!opened && opened.error().code == ErrorCode::kNotFound)
    return fail(ErrorCode::kNotFound, "{}: part {} of {} is missing; it must lie beside {}", path, number, keys.count,
                given);
  if (!opened) return tl::unexpected<Error>(std::move(opened.error()));
  METALLIC_TRY(check_place(path, opened->keys, number, keys.count));
  if (opened->keys.tensors != keys.tensors)
    return fail(ErrorCode::kCorrupt, "{}: key '{}' is not the same as in {}; the parts do not belong together", path,
                kSplitTensorsKey, given);
  return std::move(opened->part);
}

Status check_tensor_count(const std::string& path, const std::vector<GgufPart>& parts, const SplitKeys& keys) {
  uint64_t count = 0;
  for (const GgufPart& part : parts) count += part.header.tensors.size();
  if (!keys.tensors || *keys.tensors == count) return {};
  return fail(ErrorCode::kCorrupt,
              "{}: key '{}' promises {} tensors, the {} parts hold {}; the parts do not belong together", path,
              kSplitTensorsKey, *keys.tensors, keys.count, count);
}

}  // namespace

Result<std::vector<GgufPart>> open_parts(const std::string& path) {
  METALLIC_ASSIGN(OpenedPart given, open_part(path));
  std::vector<GgufPart> parts;
  if (given.keys.count == 1) {
    parts.push_back(std::move(given.part));
    return parts;
  }
  const std::optional<SplitName> name = parse_split_name(path);
  if (!name)
    return fail(ErrorCode::kCorrupt, "{}: it is part {} of {} of a model, so its name must end in '{}'; rename it",
                path, given.keys.number + 1, given.keys.count,
                split_part_path("", given.keys.number + 1, given.keys.count));
  METALLIC_TRY(check_place(path, given.keys, name->number, name->count));
  for (uint64_t number = 1; number <= name->count; ++number) {
    if (number == name->number) {
      parts.push_back(std::move(given.part));
      continue;
    }
    const std::string part_path = split_part_path(name->prefix, number, name->count);
    METALLIC_ASSIGN(GgufPart part, open_sibling(part_path, number, path, given.keys));
    parts.push_back(std::move(part));
  }
  METALLIC_TRY(check_tensor_count(path, parts, given.keys));
  return parts;
}

}  // namespace metallic
