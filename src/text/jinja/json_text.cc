#include "text/jinja/json_text.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "text/jinja/hash.h"
#include "text/jinja/number_text.h"
#include "text/jinja/unicode_text.h"

namespace metallic::jinja {
namespace {

using Json = nlohmann::ordered_json;

// Builds values as the JSON parser reports its events.
class ValueBuilder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(Value::none()); }
  bool boolean(bool value) override { return add(Value(value)); }
  bool number_integer(int64_t value) override { return add(Value(Integer(value))); }
  bool number_unsigned(uint64_t value) override { return add(Value(Integer(value))); }
  bool number_float(double value, const std::string& text) override {
    if (text.find_first_of(".eE") != text.npos) return add(Value(value));
    const auto integer = parse_integer(text);  // one too large for 64 bits
    if (!integer) return stop(fmt::format("the integer {} is too large", text));
    return add(Value(*integer));
  }
  bool string(std::string& value) override { return add(Value(std::move(value))); }
  bool binary(Json::binary_t&) override { return stop("binary data"); }
  bool start_object(size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(false); }
  bool end_array() override { return close(); }
  bool key(std::string& value) override {
    open_.back().key = std::move(value);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const Json::exception& error) override {
    // The library's text names itself first: "[json.exception.parse_error.101] ...".
    const std::string_view text = error.what();
    const size_t end = text.find("] ");
    return stop(fmt::format("byte {}: {}", position, end == text.npos ? text : text.substr(end + 2)));
  }

  Value result;
  std::string failure;

 private:
  struct Level {
    bool is_object;
    ValueList items;
    DictBuilder dict;
    std::string key;
  };

  bool stop(std::string why) {
    failure = std::move(why);
    return false;
  }
  bool open(bool is_object) {
    if (open_.size() >= size_t(kMaximumValueDepth)) {
      return stop(fmt::format("nested more than {} levels deep", kMaximumValueDepth));
    }
    open_.push_back({is_object, {}, {}, {}});
    return true;
  }
  bool close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    return add(level.is_object ? level.dict.finish() : Value::list(std::move(level.items)));
  }
  bool add(Value value) {
    if (open_.empty()) {
      result = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().dict.set(open_.back().key, value);
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }
  std::vector<Level> open_;
};

class Dumper {
 public:
  Dumper(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  Status dump(const Value& value) {
    METALLIC_TRY(runtime_.spend_steps(1));
    if (out.size() > runtime_.limits.output_bytes) METALLIC_TRY(runtime_.spend_bytes(out.size()));
    switch (value.kind()) {
      case Kind::kNone:
        out += "null";
        return {};
      case Kind::kBool:
        out += value.as_bool() ? "true" : "false";
        return {};
      case Kind::kInteger:
        out += integer_text(value.as_integer());
        return {};
      case Kind::kFloat:
        out += number(value.as_number());
        return {};
      case Kind::kString:
        dump_string(value.text());
        return {};
      case Kind::kList:
      case Kind::kTuple:
        return dump_list(value.items());
      case Kind::kDict:
        return dump_dict(value.dict());
      case Kind::kUndefined:
        return refuse("tojson of a value that is undefined: {}", value.undefined_message());
      default:
        return refuse("tojson cannot write a {}", type_name(value));
    }
  }

  std::string out;

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_text(value);
  }

  void dump_string(std::string_view text) {
    out += '"';
    while (!text.empty()) {
      const std::string_view here = text;
      const uint32_t c = take_code_point(text);
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\b':
          out += "\\b";
          break;
        default:
          if (c < 0x20 || (style_.ascii_only && c > 0x7e)) {
            dump_escape(c);
          } else {
            out += here.substr(0, here.size() - text.size());
          }
      }
    }
    out += '"';
  }

  void dump_escape(uint32_t c) {
    if (c >= 0x10000) {  // as UTF-16
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
      out += fmt::format("\\u{:04x}", c);
    }
  }

  void new_line() {
    if (!style_.multiline) return;
    out += '\n';
    for (int i = 0; i < level_; ++i) out += style_.indent;
  }

  Status dump_list(const ValueList& items) {
    if (items.empty()) {
      out += "[]";
      return {};
    }
    out += '[';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line();
      METALLIC_TRY(dump(items[i]));
    }
    --level_;
    new_line();
    out += ']';
    return {};
  }

  Status dump_dict(const DictObject& dict) {
    if (dict.entries.empty()) {
      out += "{}";
      return {};
    }
    METALLIC_ASSIGN(const auto order, order_of(dict));
    out += '{';
    ++level_;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line();
      METALLIC_ASSIGN(const std::string key, key_text(order[i]->first));
      dump_string(key);
      out += style_.key_separator;
      METALLIC_TRY(dump(order[i]->second));
    }
    --level_;
    new_line();
    out += '}';
    return {};
  }

  Result<std::vector<const std::pair<Value, Value>*>> order_of(const DictObject& dict) {
    std::vector<const std::pair<Value, Value>*> order;
    bool all_strings = true;
    for (const auto& entry : dict.entries) {
      order.push_back(&entry);
      all_strings = all_strings && entry.first.is_string();
    }
    if (!style_.sort_keys) return order;
    const bool all_numbers =
        std::all_of(order.begin(), order.end(), [](auto* each) { return each->first.is_number(); });
    if (!all_strings && !all_numbers) return refuse("tojson(sort_keys=true) of keys that have no order");
    std::stable_sort(order.begin(), order.end(), [&](const auto* a, const auto* b) {
      return all_strings ? a->first.text() < b->first.text() : a->first.as_number() < b->first.as_number();
    });
    return order;
  }

  static Result<std::string> key_text(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        return key.text();
      case Kind::kNone:
        return std::string("null");
      case Kind::kBool:
        return std::string(key.as_bool() ? "true" : "false");
      case Kind::kInteger:
        return integer_text(key.as_integer());
      case Kind::kFloat:
        return number(key.as_number());
      default:
        return refuse("tojson cannot write a key that is a {}", type_name(key));
    }
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

Result<Value> parse_json(std::string_view text, std::string_view what) {
  ValueBuilder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return refuse("{} is not the JSON that a template can take: {}", what, builder.failure);
  }
  return std::move(builder.result);
}

Result<std::string> dump_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  Dumper dumper(runtime, style);
  METALLIC_TRY(dumper.dump(value));
  METALLIC_TRY(runtime.spend_bytes(dumper.out.size()));
  return std::move(dumper.out);
}

}  // namespace metallic::jinja
