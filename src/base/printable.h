// Text of unknown origin made safe to print: a terminal must not obey what a file says.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace metallic {

// `text` on one line: backslashes, control characters, ill-formed UTF-8 and characters that reorder or break lines are
// written as escapes (\n, \x1b, \u{202e}). After `limit` code points it is cut and ends in "...".
std::string printable(std::string_view text, size_t limit = 80);

}  // namespace metallic
