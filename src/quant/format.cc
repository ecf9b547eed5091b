#include "metallic/format.h"

#include <array>

#include "base/check.h"
#include "base/checked_math.h"
#include "quant/formats.h"

namespace metallic {
namespace {

template <class F>
constexpr FormatInfo describe(const char* name) {
  static_assert(alignof(typename F::Block) == 1);
  return {F::kFormat, name, F::kBlock, int(sizeof(typename F::Block))};
}

constexpr std::array kFormats = {
#define METALLIC_FORMAT(name) describe<quant::name>(#name),
#include "quant/formats.def"
#undef METALLIC_FORMAT
};

constexpr bool ids_ascend() {
  for (size_t i = 1; i < kFormats.size(); ++i)
    if (kFormats[i - 1].format >= kFormats[i].format) return false;
  return true;
}
static_assert(ids_ascend());

char upper(char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; }

}  // namespace

std::span<const FormatInfo> all_formats() { return kFormats; }

const FormatInfo& format_info(Format format) {
  for (const FormatInfo& info : kFormats)
    if (info.format == format) return info;
  METALLIC_CHECK(false && "unknown Format");
  return kFormats[0];
}

std::optional<Format> format_from_id(uint32_t id) {
  for (const FormatInfo& info : kFormats)
    if (uint32_t(info.format) == id) return info.format;
  return std::nullopt;
}

std::optional<Format> format_from_name(std::string_view name) {
  for (const FormatInfo& info : kFormats) {
    const std::string_view known = info.name;
    bool same = known.size() == name.size();
    for (size_t i = 0; same && i < known.size(); ++i) same = upper(name[i]) == known[i];
    if (same) return info.format;
  }
  return std::nullopt;
}

std::optional<uint64_t> format_bytes(Format format, uint64_t elements) {
  const FormatInfo& info = format_info(format);
  if (elements % uint64_t(info.block_elements) != 0) return std::nullopt;
  return checked_multiply(elements / uint64_t(info.block_elements), uint64_t(info.block_bytes));
}

}  // namespace metallic
