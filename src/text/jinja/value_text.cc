#include "text/jinja/value_text.h"

#include "base/utf8.h"
#include "text/jinja/number_text.h"
#include "text/jinja/unicode_text.h"

namespace metallic::jinja {
namespace {

Status append_repr(Runtime& runtime, const Value& value, std::string& out);

Status check_size(Runtime& runtime, const std::string& out) {
  METALLIC_TRY(runtime.spend_steps(1));
  return out.size() <= runtime.limits.output_bytes ? Status() : runtime.spend_bytes(out.size());
}

template <class At>
Status append_list(Runtime& runtime, size_t count, At&& at, const char* open, const char* close, std::string& out) {
  out += open;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    METALLIC_TRY(append_repr(runtime, at(i), out));
    METALLIC_TRY(check_size(runtime, out));
  }
  out += close;
  return {};
}

Status append_dict(Runtime& runtime, const DictObject& dict, std::string& out) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : dict.entries) {
    if (!first) out += ", ";
    first = false;
    METALLIC_TRY(append_repr(runtime, key, out));
    out += ": ";
    METALLIC_TRY(append_repr(runtime, value, out));
    METALLIC_TRY(check_size(runtime, out));
  }
  out += '}';
  return {};
}

void append_range(const RangeObject& range, std::string& out) {
  out += fmt::format("range({}, {}", integer_text(range.start), integer_text(range.stop));
  if (range.step != 1) out += fmt::format(", {}", integer_text(range.step));
  out += ')';
}

Status append_view(Runtime& runtime, const DictViewObject& view, std::string& out) {
  static constexpr const char* kOpen[] = {"dict_keys([", "dict_values([", "dict_items(["};
  return append_list(
      runtime, view.dict->entries.size(), [&](size_t i) { return view.at(i); }, kOpen[size_t(view.part)], "])", out);
}

Status append_sequence(Runtime& runtime, const Value& value, std::string& out) {
  const ValueList& items = value.items();
  const auto at = [&](size_t i) -> const Value& { return items[i]; };
  if (value.is(Kind::kList)) return append_list(runtime, items.size(), at, "[", "]", out);
  return append_list(runtime, items.size(), at, "(", items.size() == 1 ? ",)" : ")", out);
}

Status append_repr(Runtime& runtime, const Value& value, std::string& out) {
  const DepthGuard guard(runtime);  // namespaces may hold themselves
  METALLIC_TRY(guard.check());
  switch (value.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      return {};
    case Kind::kNone:
      out += "None";
      return {};
    case Kind::kBool:
      out += value.as_bool() ? "True" : "False";
      return {};
    case Kind::kInteger:
      out += integer_text(value.as_integer());
      return {};
    case Kind::kFloat:
      out += float_text(value.as_number());
      return {};
    case Kind::kString:
      out += value.is_markup() ? fmt::format("Markup({})", quote(value.text())) : quote(value.text());
      return {};
    case Kind::kList:
    case Kind::kTuple:
      return append_sequence(runtime, value, out);
    case Kind::kDict:
      return append_dict(runtime, value.dict(), out);
    case Kind::kRange:
      append_range(value.range(), out);
      return {};
    case Kind::kDictView:
      return append_view(runtime, value.view(), out);
    case Kind::kIterator:
      out += "<generator object>";
      return {};
    case Kind::kHost:
      break;
  }
  METALLIC_ASSIGN(const std::string text, value.host().repr(runtime));
  out += text;
  return check_size(runtime, out);
}

}  // namespace

std::string quote(std::string_view text) {
  const bool single = text.find('\'') == text.npos || text.find('"') != text.npos;
  const char mark = single ? '\'' : '"';
  std::string out(1, mark);
  while (!text.empty()) {
    const uint32_t c = take_code_point(text);
    if (c == uint32_t(mark) || c == '\\') {
      out += '\\';
      out += char(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_class(c, CharacterClass::kPrintable)) {
      append_utf8(out, c);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", c);
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += fmt::format("\\U{:08x}", c);
    }
  }
  return out + mark;
}

Status append_text(Runtime& runtime, const Value& value, std::string& out) {
  if (value.is_string()) {
    METALLIC_TRY(runtime.spend_bytes(value.text().size()));
    out += value.text();
    return {};
  }
  if (value.is_undefined()) return {};
  const size_t before = out.size();
  METALLIC_TRY(append_repr(runtime, value, out));
  return runtime.spend_bytes(out.size() - before);
}

Result<std::string> to_text(Runtime& runtime, const Value& value) {
  std::string out;
  METALLIC_TRY(append_text(runtime, value, out));
  return out;
}

Result<std::string> repr(Runtime& runtime, const Value& value) {
  std::string out;
  METALLIC_TRY(append_repr(runtime, value, out));
  METALLIC_TRY(runtime.spend_bytes(out.size()));
  return out;
}

}  // namespace metallic::jinja
