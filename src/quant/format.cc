#include "metallic/format.h"

#include <array>

#include "base/check.h"
#include "base/checked_math.h"

namespace metallic {
namespace {

constexpr std::array kFormats = {
    FormatInfo{Format::kF32, "F32", 1, 4},           FormatInfo{Format::kF16, "F16", 1, 2},
    FormatInfo{Format::kQ4_0, "Q4_0", 32, 18},       FormatInfo{Format::kQ4_1, "Q4_1", 32, 20},
    FormatInfo{Format::kQ5_0, "Q5_0", 32, 22},       FormatInfo{Format::kQ5_1, "Q5_1", 32, 24},
    FormatInfo{Format::kQ8_0, "Q8_0", 32, 34},       FormatInfo{Format::kQ8_1, "Q8_1", 32, 36},
    FormatInfo{Format::kQ2_K, "Q2_K", 256, 84},      FormatInfo{Format::kQ3_K, "Q3_K", 256, 110},
    FormatInfo{Format::kQ4_K, "Q4_K", 256, 144},     FormatInfo{Format::kQ5_K, "Q5_K", 256, 176},
    FormatInfo{Format::kQ6_K, "Q6_K", 256, 210},     FormatInfo{Format::kQ8_K, "Q8_K", 256, 292},
    FormatInfo{Format::kIQ2_XXS, "IQ2_XXS", 256, 66}, FormatInfo{Format::kIQ2_XS, "IQ2_XS", 256, 74},
    FormatInfo{Format::kIQ3_XXS, "IQ3_XXS", 256, 98}, FormatInfo{Format::kIQ1_S, "IQ1_S", 256, 50},
    FormatInfo{Format::kIQ4_NL, "IQ4_NL", 32, 18},   FormatInfo{Format::kIQ3_S, "IQ3_S", 256, 110},
    FormatInfo{Format::kIQ2_S, "IQ2_S", 256, 82},    FormatInfo{Format::kIQ4_XS, "IQ4_XS", 256, 136},
    FormatInfo{Format::kI8, "I8", 1, 1},             FormatInfo{Format::kI16, "I16", 1, 2},
    FormatInfo{Format::kI32, "I32", 1, 4},           FormatInfo{Format::kI64, "I64", 1, 8},
    FormatInfo{Format::kF64, "F64", 1, 8},           FormatInfo{Format::kIQ1_M, "IQ1_M", 256, 56},
    FormatInfo{Format::kBF16, "BF16", 1, 2},         FormatInfo{Format::kTQ1_0, "TQ1_0", 256, 54},
    FormatInfo{Format::kTQ2_0, "TQ2_0", 256, 66},    FormatInfo{Format::kMXFP4, "MXFP4", 32, 17},
    FormatInfo{Format::kNVFP4, "NVFP4", 64, 36},     FormatInfo{Format::kQ1_0, "Q1_0", 128, 18},
};

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
