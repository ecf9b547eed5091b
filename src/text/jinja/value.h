// The values of a template: Python's, as far as a chat template can see them. Strings count in code points. All but
// host objects are immutable (the sandbox that templates are written for forbids mutation), so values share freely.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace metallic::jinja {

// Python's integers have no limit; these cover all that JSON and counting bring. Overflow is an error, never a wrap.
__extension__ typedef __int128 Integer;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInteger,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kDictView,
  kIterator,
  kHost,
};

// What does not fit into a Value itself. `depth` is the nesting below it, bounded so that no walk exhausts the stack.
class Object {
 public:
  explicit Object(Kind object_kind, int object_depth = 0) : kind(object_kind), depth(object_depth) {}
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const Kind kind;
  const int depth;
};

class Value;
class HostObject;
struct StringObject;
struct SequenceObject;
struct DictObject;
struct RangeObject;
struct DictViewObject;
struct IteratorObject;
using ValueList = std::vector<Value>;
using SharedList = std::shared_ptr<const ValueList>;

class Value {
 public:
  Value() = default;  // undefined
  Value(bool value) : storage_(value) {}
  Value(int value) : storage_(Integer(value)) {}
  Value(Integer value) : storage_(value) {}
  Value(double value) : storage_(value) {}
  Value(std::string text);
  Value(const char* text) : Value(std::string(text)) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  explicit Value(std::shared_ptr<Object> object) : storage_(std::move(object)) {}

  static Value none();
  // `message` is the error of whoever does more with it than print it or test it.
  static Value undefined(std::string message);
  // Text that counts as already escaped for HTML (jinja's Markup): adding to it escapes what is added.
  static Value markup(std::string text);
  static Value list(ValueList items);
  static Value tuple(ValueList items);
  // An iterator over `items`, one pass only. `error`, if any, is what advancing past the last of them gives.
  static Value iterator(ValueList items, std::shared_ptr<const Error> error = nullptr);

  Kind kind() const;
  bool is(Kind wanted) const { return kind() == wanted; }
  bool is_undefined() const { return is(Kind::kUndefined); }
  bool is_none() const { return is(Kind::kNone); }
  bool is_string() const { return is(Kind::kString); }
  bool is_markup() const;
  bool is_integral() const { return is(Kind::kInteger) || is(Kind::kBool); }  // Python's bool is an int
  bool is_number() const { return is_integral() || is(Kind::kFloat); }
  bool is_sequence() const { return is(Kind::kList) || is(Kind::kTuple); }
  int depth() const;

  // Each needs the kind that its name says.
  bool as_bool() const { return std::get<bool>(storage_); }
  Integer as_integer() const;  // of an integer or a bool
  double as_number() const;    // of any number
  const std::string& text() const;
  const StringObject& string() const;
  const ValueList& items() const;  // of a list or a tuple
  SharedList shared_items() const;
  const DictObject& dict() const;
  std::shared_ptr<const DictObject> shared_dict() const;
  const RangeObject& range() const;
  const DictViewObject& view() const;
  IteratorObject& iterator() const;
  HostObject& host() const;
  const std::string& undefined_message() const;
  const Object* object() const;  // null for what is stored in the value itself

 private:
  struct None {};
  using Storage = std::variant<std::monostate, None, bool, Integer, double, std::shared_ptr<Object>>;
  Storage storage_;
};

struct UndefinedObject : Object {
  explicit UndefinedObject(std::string text) : Object(Kind::kUndefined), message(std::move(text)) {}
  const std::string message;
};

struct StringObject : Object {
  StringObject(std::string utf8, bool is_markup);
  const std::string text;
  const size_t length;  // in code points
  const bool markup;
  bool is_ascii() const { return length == text.size(); }
};

struct SequenceObject : Object {
  SequenceObject(Kind list_or_tuple, ValueList values, bool is_group);
  const ValueList items;
  const bool group;  // a tuple of the groupby filter: .grouper and .list
};

// Insertion order, as Python's. Keys are hashable values (hash.h).
struct DictObject : Object {
  using Entries = std::vector<std::pair<Value, Value>>;
  explicit DictObject(Entries unique_entries);
  const Entries entries;
  const Value* find(std::string_view key) const;  // null if absent
  // The entries whose key may equal one of this hash: [first, last) of positions().
  const std::unordered_multimap<size_t, size_t>& positions() const { return positions_; }

 private:
  std::unordered_multimap<size_t, size_t> positions_;  // hash of the key -> index into entries
};

struct RangeObject : Object {
  RangeObject(Integer from, Integer to, Integer by);
  const Integer start, stop, step;
  const size_t size;
  Value at(size_t index) const { return Value(start + Integer(index) * step); }
};

struct DictViewObject : Object {
  enum class Part { kKeys, kValues, kItems };
  DictViewObject(std::shared_ptr<const DictObject> viewed, Part which);
  const std::shared_ptr<const DictObject> dict;
  const Part part;
  Value at(size_t index) const;
};

struct IteratorObject : Object {
  IteratorObject(ValueList values, std::shared_ptr<const Error> after);
  const ValueList items;
  const std::shared_ptr<const Error> error;
  size_t position = 0;
};

class Runtime;

struct Arguments {
  ValueList positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// What templates reach by attribute or call and cannot take apart: macros, functions, methods, loops, namespaces.
class HostObject : public Object {
 public:
  explicit HostObject(int object_depth = 0) : Object(Kind::kHost, object_depth) {}
  virtual std::string_view type_name() const = 0;  // for messages
  virtual bool callable() const { return false; }
  virtual Result<Value> call(Runtime& runtime, const Arguments& arguments);
  // The attribute, or undefined.
  virtual Result<Value> attribute(std::string_view) { return Value(); }
  virtual std::optional<size_t> length() const { return std::nullopt; }  // where it has a len()
  virtual Result<std::string> repr(Runtime& runtime) const;
  // Drops the values it holds, at the end of a rendering: host objects may hold each other in a ring.
  virtual void clear() {}
};

bool truth(const Value& value);                  // Python's bool(value)
std::string_view type_name(const Value& value);  // Python's name of the type: "str", "dict", ...

size_t count_code_points(std::string_view utf8);
size_t hash_text(std::string_view text);

// The error of using an undefined value; of what Python calls a TypeError or a ValueError.
[[nodiscard]] tl::unexpected<Error> fail_undefined(const Value& value);
template <class... Args>
[[nodiscard]] tl::unexpected<Error> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

}  // namespace metallic::jinja
