#include "text/jinja/unicode_text.h"

#include <algorithm>
#include <iterator>

#include "base/utf8.h"

namespace metallic::jinja {
namespace {

struct Range {
  uint32_t first, last;
};
struct CaseRange {  // every stride-th code point from first to last moves by delta
  uint32_t first, last;
  uint32_t stride;
  int32_t delta;
};
struct LongCase {
  uint32_t from;
  uint32_t to[3];  // 0 after the last
};

#include "text/jinja/unicode_tables.inc"

constexpr uint32_t kSigma = 0x3a3, kSmallSigma = 0x3c3, kFinalSigma = 0x3c2;

template <class T, size_t N>
bool in_ranges(const T (&ranges)[N], uint32_t code_point) {
  const auto* at = std::upper_bound(std::begin(ranges), std::end(ranges), code_point,
                                    [](uint32_t value, const T& range) { return value < range.first; });
  return at != std::begin(ranges) && code_point <= std::prev(at)->last;
}

template <size_t N, size_t M>
void append_mapped(std::string& out, uint32_t code_point, const CaseRange (&ranges)[N], const LongCase (&longer)[M]) {
  const auto* entry = std::lower_bound(std::begin(longer), std::end(longer), code_point,
                                       [](const LongCase& each, uint32_t value) { return each.from < value; });
  if (entry != std::end(longer) && entry->from == code_point) {
    for (const uint32_t to : entry->to) {
      if (to != 0) append_utf8(out, to);
    }
    return;
  }
  const auto* at = std::upper_bound(std::begin(ranges), std::end(ranges), code_point,
                                    [](uint32_t value, const CaseRange& range) { return value < range.first; });
  if (at != std::begin(ranges)) {
    const CaseRange& range = *std::prev(at);
    if (code_point <= range.last && (code_point - range.first) % range.stride == 0) {
      code_point = uint32_t(int32_t(code_point) + range.delta);
    }
  }
  append_utf8(out, code_point);
}

// Whether the sigma at `at` ends a word: a cased letter before it and none after it, what is ignorable left aside
// (Unicode 3.13, Final_Sigma).
bool is_final_sigma(const std::u32string& text, size_t at) {
  size_t before = at;
  while (before > 0 && is_class(text[before - 1], CharacterClass::kCaseIgnorable)) --before;
  if (before == 0 || !is_class(text[before - 1], CharacterClass::kCased)) return false;
  size_t after = at + 1;
  while (after < text.size() && is_class(text[after], CharacterClass::kCaseIgnorable)) ++after;
  return after == text.size() || !is_class(text[after], CharacterClass::kCased);
}

void append_lower(std::string& out, const std::u32string& text, size_t at) {
  if (text[at] == kSigma) {
    append_utf8(out, is_final_sigma(text, at) ? kFinalSigma : kSmallSigma);
  } else {
    append_mapped(out, text[at], kToLower, kToLowerLong);
  }
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char byte) { return uint8_t(byte) < 0x80; });
}

}  // namespace

uint32_t take_code_point(std::string_view& text) {
  const DecodedCodePoint decoded = decode_utf8(text);
  text.remove_prefix(size_t(decoded.length));
  return decoded.code_point == kInvalidCodePoint ? 0xfffd : decoded.code_point;
}

std::u32string to_code_points(std::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  while (!utf8.empty()) out += char32_t(take_code_point(utf8));
  return out;
}

bool is_class(uint32_t code_point, CharacterClass wanted) {
  switch (wanted) {
    case CharacterClass::kAlpha:
      return in_ranges(kAlpha, code_point);
    case CharacterClass::kDecimal:
      return in_ranges(kDecimal, code_point);
    case CharacterClass::kDigit:
      return in_ranges(kDigit, code_point);
    case CharacterClass::kNumeric:
      return in_ranges(kNumeric, code_point);
    case CharacterClass::kLower:
      return in_ranges(kLower, code_point);
    case CharacterClass::kUpper:
      return in_ranges(kUpper, code_point);
    case CharacterClass::kTitle:
      return in_ranges(kTitle, code_point);
    case CharacterClass::kPrintable:
      return in_ranges(kPrintable, code_point);
    case CharacterClass::kIdentifierStart:
      return in_ranges(kIdentifierStart, code_point);
    case CharacterClass::kIdentifierContinue:
      return in_ranges(kIdentifierContinue, code_point);
    case CharacterClass::kCased:
      return in_ranges(kCased, code_point);
    case CharacterClass::kCaseIgnorable:
      return in_ranges(kCaseIgnorable, code_point);
  }
  return false;
}

bool is_space(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_line_break(uint32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_word(uint32_t c) {
  return c == '_' || is_class(c, CharacterClass::kAlpha) || is_class(c, CharacterClass::kNumeric);
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  if (is_ascii(text)) {
    for (const char byte : text) out += byte >= 'A' && byte <= 'Z' ? char(byte + 32) : byte;
    return out;
  }
  const std::u32string code_points = to_code_points(text);
  for (size_t i = 0; i < code_points.size(); ++i) append_lower(out, code_points, i);
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) append_mapped(out, take_code_point(text), kToUpper, kToUpperLong);
  return out;
}

std::string to_title(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const std::u32string code_points = to_code_points(text);
  bool in_word = false;
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (in_word) {
      append_lower(out, code_points, i);
    } else {
      append_mapped(out, code_points[i], kToTitle, kToTitleLong);
    }
    in_word = is_class(code_points[i], CharacterClass::kCased);
  }
  return out;
}

std::string to_capitalized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const std::u32string code_points = to_code_points(text);
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (i == 0) {
      append_mapped(out, code_points[i], kToTitle, kToTitleLong);
    } else {
      append_lower(out, code_points, i);
    }
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const std::u32string code_points = to_code_points(text);
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (is_class(code_points[i], CharacterClass::kUpper)) {
      append_lower(out, code_points, i);
    } else if (is_class(code_points[i], CharacterClass::kLower)) {
      append_mapped(out, code_points[i], kToUpper, kToUpperLong);
    } else {
      append_utf8(out, code_points[i]);
    }
  }
  return out;
}

std::string fold_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) append_mapped(out, take_code_point(text), kToFold, kToFoldLong);
  return out;
}

bool is_identifier(std::string_view text) {
  if (text.empty() || !is_class(take_code_point(text), CharacterClass::kIdentifierStart)) return false;
  while (!text.empty()) {
    if (!is_class(take_code_point(text), CharacterClass::kIdentifierContinue)) return false;
  }
  return true;
}

}  // namespace metallic::jinja
