#include "metallic/format.h"

#include <algorithm>
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

// Those of files, and behind them the one of caches alone.
constexpr std::array kFormats = {
#define METALLIC_FORMAT(name) describe<quant::name>(#name),
#include "quant/formats.def"
#undef METALLIC_FORMAT
    describe<quant::F8_E4M3>("F8_E4M3"),
};
constexpr size_t kFileFormats = kFormats.size() - 1;

constexpr bool ids_ascend() {
  for (size_t i = 1; i < kFormats.size(); ++i)
    if (kFormats[i - 1].format >= kFormats[i].format) return false;
  return true;
}
static_assert(ids_ascend());

char upper(char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; }

bool is_name(std::string_view text, std::string_view name) {
  return std::equal(text.begin(), text.end(), name.begin(), name.end(), [](char a, char b) { return upper(a) == b; });
}

}  // namespace

std::span<const FormatInfo> all_formats() { return std::span(kFormats).first(kFileFormats); }

const FormatInfo& format_info(Format format) {
  for (const FormatInfo& info : kFormats)
    if (info.format == format) return info;
  METALLIC_CHECK(false && "unknown Format");
  return kFormats[0];
}

std::optional<Format> format_from_id(uint32_t id) {
  for (const FormatInfo& info : all_formats())
    if (uint32_t(info.format) == id) return info.format;
  return std::nullopt;
}

std::optional<Format> format_from_name(std::string_view name) {
  for (const FormatInfo& info : all_formats())
    if (is_name(name, info.name)) return info.format;
  return std::nullopt;
}

std::optional<Format> kv_format_from_name(std::string_view name) {
  if (is_name(name, "FP8") || is_name(name, format_info(Format::kF8_E4M3).name)) return Format::kF8_E4M3;
  return format_from_name(name);
}

std::optional<uint64_t> format_bytes(Format format, uint64_t elements) {
  const FormatInfo& info = format_info(format);
  if (elements % uint64_t(info.block_elements) != 0) return std::nullopt;
  return checked_multiply(elements / uint64_t(info.block_elements), uint64_t(info.block_bytes));
}

}  // namespace metallic
