#include "tokenizer/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <string>

#include "base/utf8.h"

namespace metallic {
namespace {

// The class bits that utf8proc's category asks for.
int bits_of_category(utf8proc_category_t category) {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kLetter | kUpper;
    case UTF8PROC_CATEGORY_LL:
      return kLetter | kLower;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      return kSymbol;
    default:
      return 0;
  }
}

TEST(UnicodeTable, AgreesWithUtf8procOnEveryCodePointThatBothKnow) {
  const UnicodeTable& table = unicode_table();
  int compared = 0;
  for (utf8proc_int32_t c = 0; c < 0x110000; ++c) {
    const utf8proc_category_t category = utf8proc_category(c);
    if (category == UTF8PROC_CATEGORY_CN) continue;  // unassigned in utf8proc's version of Unicode, perhaps not in ours
    ++compared;
    ASSERT_EQ(table.at(uint32_t(c)) & ~kSpace, bits_of_category(category)) << "U+" << std::hex << c;
  }
  EXPECT_GT(compared, 280000);
}

TEST(UnicodeTable, HasTheTwentyFiveWhiteSpaces) {
  std::u32string spaces;
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (unicode_table().at(c) & kSpace) spaces += char32_t(c);
  }
  EXPECT_EQ(spaces,
            U"\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
            U"\u2028\u2029\u202f\u205f\u3000");
}

TEST(UnicodeTable, KnowsUnicode16) {
  EXPECT_EQ(unicode_table().at(0x1c89), kLetter | kUpper);  // CYRILLIC CAPITAL LETTER TJE, new in 16.0
  EXPECT_EQ(unicode_table().at(0x10d40), kNumber);          // GARAY DIGIT ZERO, new in 16.0
}

TEST(ReadChar, DecodesLikeTheCheckedDecoder) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text;
    append_utf8(text, c);
    const Char read = read_char(unicode_table(), text.data());
    ASSERT_EQ(read.code_point, c);
    ASSERT_EQ(read.length, text.size());
    ASSERT_EQ(read.classes, unicode_table().at(c));
  }
}

}  // namespace
}  // namespace metallic
