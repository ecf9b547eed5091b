#include "gguf/parse_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/printable.h"
#include "gguf/name_index.h"

namespace metallic {
namespace {

constexpr uint32_t kMaxRank = 4;

// Type ids that GGUF files once used. Their layouts are gone from the format.
struct RemovedFormat {
  uint32_t id;
  const char* name;
};
constexpr RemovedFormat kRemovedFormats[] = {
    {4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"},
};

Result<Format> read_format(Cursor& cursor) {
  const uint64_t start = cursor.offset();
  METALLIC_ASSIGN(const uint32_t id, cursor.read<uint32_t>("the format"));
  if (const std::optional<Format> format = format_from_id(id)) return *format;
  for (const RemovedFormat& removed : kRemovedFormats)
    if (removed.id == id)
      return cursor.error_at(ErrorCode::kUnsupported, start,
                             fmt::format("format {} ({}) has been removed from GGUF; quantise the model again from its "
                                         "original, or download a newer file",
                                         id, removed.name));
  return cursor.error_at(
      ErrorCode::kUnsupported, start,
      fmt::format("unknown format {}, known ids go up to {}; the file is damaged, or newer than this "
                  "metallic: update metallic or use another quantisation",
                  id, uint32_t(all_formats().back().format)));
}

// Rank and sizes; afterwards the number of elements is known to fit 63 bits.
Status read_shape(Cursor& cursor, TensorInfo& info) {
  const uint64_t start = cursor.offset();
  METALLIC_ASSIGN(const uint32_t rank, cursor.read<uint32_t>("the rank"));
  if (rank > kMaxRank)
    return cursor.corrupt_at(start, "rank {}, at most {} is allowed; the file is damaged", rank, kMaxRank);
  info.rank = std::max(int(rank), 1);
  uint64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    METALLIC_ASSIGN(info.size[i], cursor.read_count("the shape"));
    if (info.size[i] == 0)
      return cursor.corrupt_at(start, "dimension {} is 0, a tensor has at least one element; the file is damaged", i);
    const std::optional<uint64_t> product = checked_multiply(elements, info.size[i]);
    if (!product || *product > uint64_t(std::numeric_limits<int64_t>::max()))
      return cursor.corrupt_at(start, "the dimensions {} have a product over 2^63; the file is damaged",
                               fmt::format("{}", fmt::join(info.size.begin(), info.size.begin() + i + 1, " x ")));
    elements = *product;
  }
  return {};
}

Status read_format_and_bytes(Cursor& cursor, TensorInfo& info) {
  const uint64_t start = cursor.offset();
  METALLIC_ASSIGN(info.format, read_format(cursor));
  const FormatInfo& format = format_info(info.format);
  if (info.size[0] % uint64_t(format.block_elements) != 0)
    return cursor.corrupt_at(start, "rows of {} elements are no whole number of {} blocks of {}; the file is damaged",
                             info.size[0], format.name, format.block_elements);
  const std::optional<uint64_t> bytes = format_bytes(info.format, info.elements());
  if (!bytes) return cursor.corrupt_at(start, "its size in bytes is over 2^64; the file is damaged");
  info.bytes = *bytes;
  return {};
}

// Reads the part that stands in the infos; `offset` is left relative to the data section.
Result<TensorInfo> read_info(Cursor& cursor, uint64_t alignment) {
  cursor.leave();
  TensorInfo info;
  METALLIC_ASSIGN(info.name, read_name(cursor, "a tensor name"));
  cursor.enter("tensor", info.name);
  METALLIC_TRY(read_shape(cursor, info));
  METALLIC_TRY(read_format_and_bytes(cursor, info));
  const uint64_t start = cursor.offset();
  METALLIC_ASSIGN(info.offset, cursor.read<uint64_t>("the data offset"));
  if (info.offset % alignment != 0)
    return cursor.corrupt_at(start, "data offset {} is no multiple of the alignment {}; the file is damaged",
                             info.offset, alignment);
  return info;
}

// Makes the offset one from the start of the file and checks that the data lies inside.
Status place(Cursor& cursor, TensorInfo& info, std::optional<uint64_t> data_start) {
  cursor.enter("tensor", info.name);
  const uint64_t at = cursor.offset_of(info.name);
  const std::optional<uint64_t> begin = data_start ? checked_add(*data_start, info.offset) : std::nullopt;
  const std::optional<uint64_t> end = begin ? checked_add(*begin, info.bytes) : std::nullopt;
  if (!end)
    return cursor.corrupt_at(at, "its data, {} bytes at data offset {}, ends beyond 2^64; the file is damaged",
                             info.bytes, info.offset);
  if (*end > cursor.file_bytes())
    return cursor.corrupt_at(
        at,
        "its data goes from byte {} to {}, but the file has only {} bytes; it is truncated or damaged: "
        "download it again",
        *begin, *end, cursor.file_bytes());
  info.offset = *begin;
  return {};
}

Status check_overlap(Cursor& cursor, const std::vector<TensorInfo>& tensors) {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return tensors[a].offset < tensors[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorInfo& before = tensors[order[i - 1]];
    const TensorInfo& after = tensors[order[i]];
    if (after.offset >= before.offset + before.bytes) continue;
    cursor.enter("tensor", after.name);
    return cursor.corrupt_at(cursor.offset_of(after.name),
                             "its data starts at byte {}, inside that of tensor '{}' ({} to {}); the file is damaged",
                             after.offset, printable(before.name), before.offset, before.offset + before.bytes);
  }
  return {};
}

}  // namespace

Result<std::vector<TensorInfo>> parse_tensors(Cursor& cursor, uint64_t count, uint64_t alignment, int file_index) {
  const uint64_t least =
      cursor.count_bytes() + 1 + 2 * sizeof(uint32_t) + sizeof(uint64_t);  // name, rank, format, offset
  if (count > cursor.remaining() / least)
    return cursor.corrupt_at(cursor.offset(),
                             "the header counts {} tensors, but only {} bytes follow; the file is truncated or damaged",
                             count, cursor.remaining());
  std::vector<TensorInfo> tensors;
  tensors.reserve(size_t(std::min<uint64_t>(count, 4096)));
  for (uint64_t i = 0; i < count; ++i) {
    METALLIC_ASSIGN(TensorInfo info, read_info(cursor, alignment));
    info.file = file_index;
    tensors.push_back(info);
  }
  const std::optional<uint64_t> data_start = checked_align(cursor.offset(), alignment);
  for (TensorInfo& info : tensors) METALLIC_TRY(place(cursor, info, data_start));
  METALLIC_TRY(check_overlap(cursor, tensors));
  cursor.leave();
  if (const auto twice = index_names(tensors, &TensorInfo::name).duplicate()) {
    const std::string_view name = tensors[twice->second].name;
    return cursor.corrupt_at(cursor.offset_of(name),
                             "the tensor '{}' appears twice, first at byte {}; the file is damaged", printable(name),
                             cursor.offset_of(tensors[twice->first].name));
  }
  return tensors;
}

}  // namespace metallic
