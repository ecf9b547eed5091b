#include "metallic/format.h"

#include <gtest/gtest.h>

#include <set>

namespace metallic {
namespace {

TEST(Format, EveryFormatIsFoundByIdAndName) {
  EXPECT_EQ(all_formats().size(), 34u);  // those of the gguf package 0.19
  std::set<std::string_view> names;
  for (const FormatInfo& info : all_formats()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(format_from_id(uint32_t(info.format)), info.format);
    EXPECT_EQ(format_from_name(info.name), info.format);
    EXPECT_EQ(&format_info(info.format), &info);
  }
  EXPECT_EQ(format_from_name("iq2_xxs"), Format::kIQ2_XXS);
  EXPECT_EQ(format_from_name("q4_k"), Format::kQ4_K);
}

TEST(Format, IdsAndNamesThatNobodyDefinedAreNone) {
  for (uint32_t id : {4u, 5u, 31u, 33u, 36u, 38u, 42u, 0xffffffffu}) EXPECT_EQ(format_from_id(id), std::nullopt) << id;
  for (const char* name : {"", "Q4", "Q4_K ", "Q4_K_M", "F3"}) EXPECT_EQ(format_from_name(name), std::nullopt) << name;
}

TEST(Format, OneIsOfKvCachesAloneAndFoundOnlyAsTheirs) {
  const FormatInfo& info = format_info(Format::kF8_E4M3);
  EXPECT_EQ(std::string_view(info.name), "F8_E4M3");
  EXPECT_EQ(format_bytes(Format::kF8_E4M3, 100), 100u);
  for (const FormatInfo& of_files : all_formats()) EXPECT_NE(of_files.format, Format::kF8_E4M3);
  EXPECT_EQ(format_from_id(uint32_t(Format::kF8_E4M3)), std::nullopt);
  for (const char* name : {"F8_E4M3", "f8_e4m3", "FP8", "fp8"}) {
    EXPECT_EQ(kv_format_from_name(name), Format::kF8_E4M3) << name;
    EXPECT_EQ(format_from_name(name), std::nullopt) << name;
  }
  EXPECT_EQ(kv_format_from_name("q8_0"), Format::kQ8_0);
  for (const char* name : {"", "fp", "fp88", "f8_e5m2"}) EXPECT_EQ(kv_format_from_name(name), std::nullopt) << name;
}

TEST(Format, BytesCountWholeBlocksAndNoticeOverflow) {
  EXPECT_EQ(format_bytes(Format::kF32, 3), 12u);
  EXPECT_EQ(format_bytes(Format::kQ4_K, 512), 288u);
  EXPECT_EQ(format_bytes(Format::kNVFP4, 64), 36u);
  EXPECT_EQ(format_bytes(Format::kQ4_K, 0), 0u);
  EXPECT_EQ(format_bytes(Format::kQ4_K, 128), std::nullopt);
  EXPECT_EQ(format_bytes(Format::kF64, 1ull << 61), std::nullopt);
}

}  // namespace
}  // namespace metallic
