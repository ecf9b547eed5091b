// What a terminal may be shown.
#include "base/printable.h"

#include <gtest/gtest.h>

namespace metallic {
namespace {

TEST(Printable, LeavesPlainTextAloneAndEscapesTheRest) {
  EXPECT_EQ(printable("caf\xc3\xa9 \xe6\xbc\xa2 'q'"), "caf\xc3\xa9 \xe6\xbc\xa2 'q'");
  EXPECT_EQ(printable("a\nb\rc\td\\e"), "a\\nb\\rc\\td\\\\e");
  EXPECT_EQ(printable(std::string_view("\x1b[2J\0\x7f", 6)), "\\x1b[2J\\x00\\x7f");
  EXPECT_EQ(printable("\xc2\x9b!"), "\\u{9b}!") << "a C1 control is an escape sequence to some terminals";
  EXPECT_EQ(printable("\xe2\x80\xae\xe2\x80\xa8\xef\xbb\xbf"), "\\u{202e}\\u{2028}\\u{feff}");
  EXPECT_EQ(printable("\xff\xe2\x82z"), "\\xff\\xe2\\x82z");
}

TEST(Printable, CutsAfterTheLimit) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abcdef...");
  EXPECT_EQ(printable("\xc3\xa9\xc3\xa9\xc3\xa9", 2), "\xc3\xa9\xc3\xa9...");
  EXPECT_EQ(printable("", 0), "");
}

}  // namespace
}  // namespace metallic
