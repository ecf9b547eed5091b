// Python's string algorithms on UTF-8 text: stripping, splitting, replacing, slicing by code points.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

enum class Side { kBoth, kLeft, kRight };

// str.strip, lstrip, rstrip: of the code points of `characters`, or of white space.
std::string_view strip(std::string_view text, std::optional<std::string_view> characters, Side side = Side::kBoth);

// str.split and rsplit; without a separator, at runs of white space. maxsplit < 0: no limit.
Result<std::vector<std::string_view>> split(Runtime& runtime, std::string_view text,
                                            std::optional<std::string_view> separator, Integer maxsplit,
                                            bool from_right);
Result<std::vector<std::string_view>> split_lines(Runtime& runtime, std::string_view text, bool keep_ends);

// str.replace; count < 0: all.
Result<std::string> replace(Runtime& runtime, std::string_view text, std::string_view old, std::string_view with,
                            Integer count);
Result<std::string> repeat(Runtime& runtime, std::string_view text, Integer count);

// The byte offset of a code point: index <= text.length.
size_t byte_offset(const StringObject& text, size_t index);
std::string_view code_point_at(const StringObject& text, size_t index);

// A slice's bounds, resolved against a length as Python does.
struct SliceBounds {
  Integer start, stop, step;
  size_t count;  // of items
};
Result<SliceBounds> resolve_slice(const Value& start, const Value& stop, const Value& step, size_t length);
Result<std::string> slice_text(Runtime& runtime, const StringObject& text, const SliceBounds& bounds);

// & < > " ' as HTML entities.
std::string escape_html(std::string_view text);

}  // namespace metallic::jinja
