#include "base/utf8.h"

#include <algorithm>
#include <cstring>

namespace metallic {
namespace {

struct Lead {
  int length;      // bytes of the sequence, 0 if the byte cannot start one
  uint8_t lowest;  // allowed range of the second byte
  uint8_t highest;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

// How many bytes of the sequence at the start of `text` are well-formed so far (at least 1 if its lead byte is).
int well_formed_bytes(std::string_view text, Lead lead) {
  int count = 1;
  while (count < lead.length && size_t(count) < text.size()) {
    const uint8_t byte = uint8_t(text[size_t(count)]);
    const uint8_t lowest = count == 1 ? lead.lowest : 0x80;
    const uint8_t highest = count == 1 ? lead.highest : 0xbf;
    if (byte < lowest || byte > highest) break;
    ++count;
  }
  return count;
}

}  // namespace

DecodedCodePoint decode_utf8(std::string_view text) {
  const uint8_t first = uint8_t(text[0]);
  if (first < 0x80) return {first, 1};
  const Lead lead = lead_of(first);
  if (lead.length == 0) return {kInvalidCodePoint, 1};
  const int length = well_formed_bytes(text, lead);
  if (length < lead.length) return {kInvalidCodePoint, length};
  uint32_t code_point = first & (0x7fu >> lead.length);
  for (int i = 1; i < length; ++i) code_point = (code_point << 6) | (uint8_t(text[size_t(i)]) & 0x3fu);
  return {code_point, length};
}

void append_utf8(std::string& out, uint32_t code_point) {
  if (code_point < 0x80) {
    out += char(code_point);
  } else if (code_point < 0x800) {
    out += char(0xc0 | (code_point >> 6));
    out += char(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    out += char(0xe0 | (code_point >> 12));
    out += char(0x80 | ((code_point >> 6) & 0x3f));
    out += char(0x80 | (code_point & 0x3f));
  } else {
    out += char(0xf0 | (code_point >> 18));
    out += char(0x80 | ((code_point >> 12) & 0x3f));
    out += char(0x80 | ((code_point >> 6) & 0x3f));
    out += char(0x80 | (code_point & 0x3f));
  }
}

size_t find_invalid_utf8(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  for (size_t at = 0; at < text.size();) {
    uint64_t eight = kHighBits;  // ASCII, which most text is, eight bytes at a time
    if (text.size() - at >= sizeof eight) std::memcpy(&eight, text.data() + at, sizeof eight);
    if ((eight & kHighBits) == 0) {
      at += sizeof eight;
      continue;
    }
    const DecodedCodePoint decoded = decode_utf8(text.substr(at));
    if (decoded.code_point == kInvalidCodePoint) return at;
    at += size_t(decoded.length);
  }
  return std::string_view::npos;
}

size_t complete_utf8_prefix(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const size_t at = text.size() - back;
    const Lead lead = lead_of(uint8_t(text[at]));
    if (lead.length == 0) continue;  // a continuation byte, or one that never fits
    const bool open = size_t(lead.length) > back && size_t(well_formed_bytes(text.substr(at), lead)) == back;
    return open ? at : text.size();
  }
  return text.size();
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const DecodedCodePoint decoded = decode_utf8(text);
    if (decoded.code_point == kInvalidCodePoint)
      out += "\xef\xbf\xbd";
    else
      out.append(text.substr(0, size_t(decoded.length)));
    text.remove_prefix(size_t(decoded.length));
  }
  return out;
}

}  // namespace metallic
