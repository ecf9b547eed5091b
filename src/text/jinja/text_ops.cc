#include "text/jinja/text_ops.h"

#include <algorithm>

#include "text/jinja/unicode_text.h"

namespace metallic::jinja {
namespace {

size_t last_code_point_start(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (uint8_t(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

bool ends_with_space(std::string_view text) {
  std::string_view tail = text.substr(last_code_point_start(text));
  return is_space(take_code_point(tail));
}

using Parts = std::vector<std::string_view>;

Parts split_at_spaces(std::string_view text, Integer maxsplit) {
  Parts parts;
  while (true) {
    text = strip(text, std::nullopt, Side::kLeft);
    if (text.empty()) return parts;
    if (maxsplit >= 0 && Integer(parts.size()) >= maxsplit) break;
    std::string_view rest = text;
    size_t end = 0;
    while (!rest.empty() && !is_space(take_code_point(rest))) end = text.size() - rest.size();
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  parts.push_back(text);
  return parts;
}

Parts split_at_spaces_from_right(std::string_view text, Integer maxsplit) {
  Parts parts;
  while (true) {
    text = strip(text, std::nullopt, Side::kRight);
    if (text.empty()) break;
    if (maxsplit >= 0 && Integer(parts.size()) >= maxsplit) {
      parts.push_back(text);
      break;
    }
    size_t start = text.size();
    while (start > 0 && !ends_with_space(text.substr(0, start))) start = last_code_point_start(text.substr(0, start));
    parts.push_back(text.substr(start));
    text = text.substr(0, start);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Parts split_at(std::string_view text, std::string_view separator, Integer maxsplit) {
  Parts parts;
  while (maxsplit < 0 || Integer(parts.size()) < maxsplit) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

Parts split_at_from_right(std::string_view text, std::string_view separator, Integer maxsplit) {
  Parts parts;
  while (maxsplit < 0 || Integer(parts.size()) < maxsplit) {
    const size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Result<Integer> slice_index(const Value& value, Integer fallback) {
  if (value.is_none()) return fallback;
  if (value.is_undefined()) return fail_undefined(value);
  if (!value.is_integral()) return refuse("slice bounds are integers or none, not {}", type_name(value));
  return value.as_integer();
}

}  // namespace

std::string_view strip(std::string_view text, std::optional<std::string_view> characters, Side side) {
  const std::u32string set = characters ? to_code_points(*characters) : std::u32string();
  const auto strips = [&](uint32_t c) { return characters ? set.find(char32_t(c)) != set.npos : is_space(c); };
  while (side != Side::kRight && !text.empty()) {
    std::string_view rest = text;
    if (!strips(take_code_point(rest))) break;
    text = rest;
  }
  while (side != Side::kLeft && !text.empty()) {
    const size_t last = last_code_point_start(text);
    std::string_view tail = text.substr(last);
    if (!strips(take_code_point(tail))) break;
    text = text.substr(0, last);
  }
  return text;
}

Result<Parts> split(Runtime& runtime, std::string_view text, std::optional<std::string_view> separator,
                    Integer maxsplit, bool from_right) {
  if (separator && separator->empty()) return refuse("split() with an empty separator");
  size_t most = text.size() / 2 + 1;
  if (separator) {
    most = 1;
    for (size_t at = text.find(*separator); at != text.npos; at = text.find(*separator, at + separator->size())) ++most;
  }
  METALLIC_TRY(runtime.spend_items(most));
  if (!separator) return from_right ? split_at_spaces_from_right(text, maxsplit) : split_at_spaces(text, maxsplit);
  return from_right ? split_at_from_right(text, *separator, maxsplit) : split_at(text, *separator, maxsplit);
}

Result<Parts> split_lines(Runtime& runtime, std::string_view text, bool keep_ends) {
  Parts parts;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view here = rest;
    const uint32_t c = take_code_point(rest);
    if (!is_line_break(c)) continue;
    if (c == '\r' && !rest.empty() && rest[0] == '\n') rest.remove_prefix(1);
    METALLIC_TRY(runtime.spend_items(1));
    const std::string_view line = text.substr(0, text.size() - here.size());
    parts.push_back(keep_ends ? text.substr(0, text.size() - rest.size()) : line);
    text = rest;
  }
  if (!text.empty()) parts.push_back(text);
  return parts;
}

Result<std::string> replace(Runtime& runtime, std::string_view text, std::string_view old, std::string_view with,
                            Integer count) {
  std::string out;
  const auto emit = [&](std::string_view piece) -> Status {
    if (out.size() + piece.size() > out.capacity()) METALLIC_TRY(runtime.spend_bytes(out.size() + piece.size()));
    out += piece;
    return {};
  };
  METALLIC_TRY(runtime.spend_bytes(text.size()));
  out.reserve(text.size());
  for (Integer done = 0; count < 0 || done < count; ++done) {
    if (old.empty()) {  // before every code point, and at the end
      METALLIC_TRY(emit(with));
      if (text.empty()) return out;
      std::string_view rest = text;
      take_code_point(rest);
      METALLIC_TRY(emit(text.substr(0, text.size() - rest.size())));
      text = rest;
      continue;
    }
    const size_t at = text.find(old);
    if (at == text.npos) break;
    METALLIC_TRY(emit(text.substr(0, at)));
    METALLIC_TRY(emit(with));
    text.remove_prefix(at + old.size());
  }
  METALLIC_TRY(emit(text));
  return out;
}

Result<std::string> repeat(Runtime& runtime, std::string_view text, Integer count) {
  std::string out;
  if (count <= 0 || text.empty()) return out;
  if (count > Integer(runtime.limits.output_bytes)) METALLIC_TRY(runtime.spend_bytes(UINT64_MAX));
  METALLIC_TRY(runtime.spend_bytes(uint64_t(count) * text.size()));
  out.reserve(size_t(count) * text.size());
  for (Integer i = 0; i < count; ++i) out += text;
  return out;
}

size_t byte_offset(const StringObject& text, size_t index) {
  if (text.is_ascii()) return index;
  size_t at = 0;
  for (; index > 0; --index) {
    ++at;
    while (at < text.text.size() && (uint8_t(text.text[at]) & 0xc0) == 0x80) ++at;
  }
  return at;
}

std::string_view code_point_at(const StringObject& text, size_t index) {
  const size_t start = byte_offset(text, index);
  std::string_view rest = std::string_view(text.text).substr(start);
  take_code_point(rest);
  return std::string_view(text.text).substr(start, text.text.size() - start - rest.size());
}

Result<SliceBounds> resolve_slice(const Value& start, const Value& stop, const Value& step, size_t length) {
  METALLIC_ASSIGN(const Integer by, slice_index(step, 1));
  if (by == 0) return refuse("a slice's step cannot be 0");
  const Integer size = Integer(length);
  const Integer lowest = by < 0 ? -1 : 0;
  const Integer highest = by < 0 ? size - 1 : size;
  const auto resolve = [&](Integer index) { return std::clamp(index < 0 ? index + size : index, lowest, highest); };
  METALLIC_ASSIGN(Integer from, slice_index(start, by < 0 ? size : 0));
  METALLIC_ASSIGN(Integer to, slice_index(stop, by < 0 ? -size - 1 : size));
  from = resolve(from);
  to = resolve(to);
  Integer count = 0;
  if (by > 0 && from < to) count = (to - from - 1) / by + 1;
  if (by < 0 && from > to) count = (from - to - 1) / -by + 1;
  return SliceBounds{from, to, by, size_t(count)};
}

Result<std::string> slice_text(Runtime& runtime, const StringObject& text, const SliceBounds& bounds) {
  if (bounds.count == 0) return std::string();
  if (bounds.step == 1) {
    const size_t first = byte_offset(text, size_t(bounds.start));
    const size_t last = byte_offset(text, size_t(bounds.stop));
    METALLIC_TRY(runtime.spend_bytes(last - first));
    return text.text.substr(first, last - first);
  }
  METALLIC_TRY(runtime.spend_bytes(text.text.size()));
  std::vector<std::string_view> characters;
  characters.reserve(text.length);
  for (std::string_view rest = text.text; !rest.empty();) {
    const std::string_view here = rest;
    take_code_point(rest);
    characters.push_back(here.substr(0, here.size() - rest.size()));
  }
  std::string out;
  Integer at = bounds.start;
  for (size_t i = 0; i < bounds.count; ++i, at += bounds.step) out += characters[size_t(at)];
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace metallic::jinja
