#include "base/printable.h"

#include <fmt/format.h>

#include <iterator>

#include "base/utf8.h"

namespace metallic {
namespace {

// C1 controls, zero-width and directional marks, line and paragraph separators, the byte order mark.
bool is_invisible(uint32_t code_point) {
  return (code_point >= 0x80 && code_point < 0xa0) || (code_point >= 0x200b && code_point <= 0x200f) ||
         (code_point >= 0x2028 && code_point <= 0x202e) || (code_point >= 0x2060 && code_point <= 0x206f) ||
         code_point == 0xfeff;
}

void append_escaped(std::string& out, std::string_view bytes, uint32_t code_point) {
  switch (code_point) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\\':
      out += "\\\\";
      return;
    default:
      break;
  }
  if (code_point == kInvalidCodePoint || code_point < 0x20 || code_point == 0x7f) {
    for (const char byte : bytes) fmt::format_to(std::back_inserter(out), "\\x{:02x}", uint8_t(byte));
  } else if (is_invisible(code_point)) {
    fmt::format_to(std::back_inserter(out), "\\u{{{:x}}}", code_point);
  } else {
    out += bytes;
  }
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  for (size_t count = 0; !text.empty(); ++count) {
    if (count == limit) return out + "...";
    const DecodedCodePoint decoded = decode_utf8(text);
    append_escaped(out, text.substr(0, size_t(decoded.length)), decoded.code_point);
    text.remove_prefix(size_t(decoded.length));
  }
  return out;
}

}  // namespace metallic
