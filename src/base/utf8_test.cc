#include "base/utf8.h"

#include <gtest/gtest.h>

namespace metallic {
namespace {

TEST(Utf8, RoundTripsEveryScalarValue) {
  for (uint32_t code_point = 0; code_point <= 0x10ffff; ++code_point) {
    if (code_point >= 0xd800 && code_point <= 0xdfff) continue;
    std::string text;
    append_utf8(text, code_point);
    const DecodedCodePoint decoded = decode_utf8(text);
    ASSERT_EQ(decoded.code_point, code_point);
    ASSERT_EQ(size_t(decoded.length), text.size());
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(complete_utf8_prefix("ab" + text.substr(0, cut)), 2u) << code_point;
      ASSERT_EQ(decode_utf8(std::string_view(text).substr(0, cut)).code_point, kInvalidCodePoint);
    }
    ASSERT_EQ(complete_utf8_prefix("ab" + text), 2 + text.size());
  }
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndValuesAboveTheLast) {
  for (const char* bad : {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xff", "\x80"}) {
    EXPECT_EQ(decode_utf8(bad).code_point, kInvalidCodePoint);
    EXPECT_EQ(find_invalid_utf8(std::string("x") + bad), 1u);
  }
  EXPECT_EQ(find_invalid_utf8("gr\xc3\xbc\xc3\x9f"), std::string_view::npos);
}

TEST(Utf8, AnIllFormedTailIsNotHeldBack) {
  EXPECT_EQ(complete_utf8_prefix("a\xff"), 2u);
  EXPECT_EQ(complete_utf8_prefix("a\x80\x80\x80"), 4u);
  EXPECT_EQ(complete_utf8_prefix("a\xe2\x28"), 3u);
  EXPECT_EQ(complete_utf8_prefix(""), 0u);
}

TEST(Utf8, ReplacesEachMaximalIllFormedPart) {
  EXPECT_EQ(replace_invalid_utf8("a\xf0\x9f\x98z\xff"), "a\xef\xbf\xbdz\xef\xbf\xbd");
}

}  // namespace
}  // namespace metallic
