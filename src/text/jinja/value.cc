#include "text/jinja/value.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/hash.h"

namespace metallic::jinja {
namespace {

int depth_below(const ValueList& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

int depth_below(const DictObject::Entries& entries) {
  int depth = 0;
  for (const auto& [key, value] : entries) depth = std::max({depth, key.depth(), value.depth()});
  return depth + 1;
}

size_t range_size(Integer start, Integer stop, Integer step) {
  if (step > 0) return start < stop ? size_t((stop - start - 1) / step + 1) : 0;
  return start > stop ? size_t((start - stop - 1) / -step + 1) : 0;
}

template <class T>
const T& object_as(const Value& value) {
  return static_cast<const T&>(*value.object());
}

}  // namespace

size_t count_code_points(std::string_view utf8) {
  size_t count = 0;
  for (const char byte : utf8) count += (uint8_t(byte) & 0xc0) != 0x80;
  return count;
}

StringObject::StringObject(std::string utf8, bool is_markup)
    : Object(Kind::kString), text(std::move(utf8)), length(count_code_points(text)), markup(is_markup) {}

SequenceObject::SequenceObject(Kind list_or_tuple, ValueList values, bool is_group)
    : Object(list_or_tuple, depth_below(values)), items(std::move(values)), group(is_group) {}

DictObject::DictObject(Entries unique_entries)
    : Object(Kind::kDict, depth_below(unique_entries)), entries(std::move(unique_entries)) {
  positions_.reserve(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) positions_.emplace(hash_of_key(entries[i].first), i);
}

const Value* DictObject::find(std::string_view key) const {
  const auto [first, last] = positions_.equal_range(hash_text(key));
  for (auto at = first; at != last; ++at) {
    const auto& [candidate, value] = entries[at->second];
    if (candidate.is_string() && candidate.text() == key) return &value;
  }
  return nullptr;
}

RangeObject::RangeObject(Integer from, Integer to, Integer by)
    : Object(Kind::kRange), start(from), stop(to), step(by), size(range_size(from, to, by)) {}

DictViewObject::DictViewObject(std::shared_ptr<const DictObject> viewed, Part which)
    : Object(Kind::kDictView, viewed->depth + 1), dict(std::move(viewed)), part(which) {}

Value DictViewObject::at(size_t index) const {
  const auto& [key, value] = dict->entries[index];
  if (part == Part::kKeys) return key;
  if (part == Part::kValues) return value;
  return Value::tuple({key, value});
}

IteratorObject::IteratorObject(ValueList values, std::shared_ptr<const Error> after)
    : Object(Kind::kIterator, depth_below(values)), items(std::move(values)), error(std::move(after)) {}

Result<Value> HostObject::call(Runtime&, const Arguments&) { return refuse("{} is not callable", type_name()); }
Result<std::string> HostObject::repr(Runtime&) const { return fmt::format("<{}>", type_name()); }

Value::Value(std::string text) : storage_(std::make_shared<StringObject>(std::move(text), false)) {}
Value Value::none() {
  Value value;
  value.storage_ = None{};
  return value;
}
Value Value::undefined(std::string message) { return Value(std::make_shared<UndefinedObject>(std::move(message))); }
Value Value::markup(std::string text) { return Value(std::make_shared<StringObject>(std::move(text), true)); }
Value Value::list(ValueList items) {
  return Value(std::make_shared<SequenceObject>(Kind::kList, std::move(items), false));
}
Value Value::tuple(ValueList items) {
  return Value(std::make_shared<SequenceObject>(Kind::kTuple, std::move(items), false));
}
Value Value::iterator(ValueList items, std::shared_ptr<const Error> error) {
  return Value(std::make_shared<IteratorObject>(std::move(items), std::move(error)));
}

Kind Value::kind() const {
  static constexpr Kind kScalars[] = {Kind::kUndefined, Kind::kNone, Kind::kBool, Kind::kInteger, Kind::kFloat};
  const Object* shared = object();
  return shared ? shared->kind : kScalars[storage_.index()];
}

const Object* Value::object() const {
  const auto* shared = std::get_if<std::shared_ptr<Object>>(&storage_);
  return shared ? shared->get() : nullptr;
}

bool Value::is_markup() const { return is_string() && string().markup; }

int Value::depth() const {
  const Object* shared = object();
  return shared ? shared->depth : 0;
}

Integer Value::as_integer() const {
  if (const bool* flag = std::get_if<bool>(&storage_)) return *flag ? 1 : 0;
  return std::get<Integer>(storage_);
}

double Value::as_number() const {
  if (const double* number = std::get_if<double>(&storage_)) return *number;
  return double(as_integer());
}

const std::string& Value::text() const { return string().text; }
const StringObject& Value::string() const { return object_as<StringObject>(*this); }
const ValueList& Value::items() const { return object_as<SequenceObject>(*this).items; }
const DictObject& Value::dict() const { return object_as<DictObject>(*this); }
const RangeObject& Value::range() const { return object_as<RangeObject>(*this); }
const DictViewObject& Value::view() const { return object_as<DictViewObject>(*this); }

SharedList Value::shared_items() const {
  return SharedList(std::get<std::shared_ptr<Object>>(storage_), &object_as<SequenceObject>(*this).items);
}
std::shared_ptr<const DictObject> Value::shared_dict() const {
  return std::static_pointer_cast<const DictObject>(std::get<std::shared_ptr<Object>>(storage_));
}
IteratorObject& Value::iterator() const {
  return static_cast<IteratorObject&>(*std::get<std::shared_ptr<Object>>(storage_));
}
HostObject& Value::host() const { return static_cast<HostObject&>(*std::get<std::shared_ptr<Object>>(storage_)); }

const std::string& Value::undefined_message() const {
  static const std::string kUnnamed = "the value is undefined";
  return object() ? object_as<UndefinedObject>(*this).message : kUnnamed;
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.as_bool();
    case Kind::kInteger:
      return value.as_integer() != 0;
    case Kind::kFloat:
      return value.as_number() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.dict().entries.empty();
    case Kind::kRange:
      return value.range().size != 0;
    case Kind::kDictView:
      return !value.view().dict->entries.empty();
    case Kind::kIterator:
      return true;
    case Kind::kHost:
      return true;
  }
  return true;
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInteger:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kDictView:
      return "dict view";
    case Kind::kIterator:
      return "generator";
    case Kind::kHost:
      return value.host().type_name();
  }
  return "";
}

tl::unexpected<Error> fail_undefined(const Value& value) { return refuse("{}", value.undefined_message()); }

}  // namespace metallic::jinja
