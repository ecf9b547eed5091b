// The methods of lists, tuples, ranges, dicts and numbers.
#include <bit>
#include <cmath>

#include "text/jinja/access.h"
#include "text/jinja/hash.h"
#include "text/jinja/methods.h"
#include "text/jinja/parameters.h"
#include "text/jinja/text_ops.h"

namespace metallic::jinja {
namespace {

Result<Value> get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("get", arguments, {"", ""}, 1));
  METALLIC_ASSIGN(const Value* found, find(runtime, self.dict(), parameters.at(0)));
  return found ? *found : parameters.or_else(1, Value::none());
}

template <DictViewObject::Part kPart>
Result<Value> view(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("dict method", arguments, {}));
  return Value(std::make_shared<DictViewObject>(self.shared_dict(), kPart));
}

Result<Value> copy(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("copy", arguments, {}));
  return self;
}

Result<Value> count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("count", arguments, {""}, 1));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, self));
  Integer found = 0;
  for (const Value& item : *items) {
    METALLIC_ASSIGN(const bool same, equal(runtime, item, parameters.at(0)));
    found += same;
  }
  return Value(found);
}

Result<Value> index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("index", arguments, {"", "", ""}, 1));
  METALLIC_ASSIGN(const SharedList items, iterate(runtime, self));
  const Value start = parameters.or_else(1, Value(0));
  const Value stop = parameters.or_else(2, Value::none());
  METALLIC_ASSIGN(const SliceBounds bounds, resolve_slice(start, stop, Value(1), items->size()));
  for (Integer i = bounds.start; i < bounds.stop; ++i) {
    METALLIC_ASSIGN(const bool same, equal(runtime, (*items)[size_t(i)], parameters.at(0)));
    if (same) return Value(i);
  }
  return refuse("index() of a value that is not in the {}", type_name(self));
}

Result<Value> bit_length(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("bit_length", arguments, {}));
  int bits = 0;
  for (Integer rest = self.as_integer(); rest != 0; rest /= 2) ++bits;
  return Value(bits);
}

Result<Value> bit_count(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("bit_count", arguments, {}));
  int bits = 0;
  for (Integer rest = self.as_integer(); rest != 0; rest /= 2) bits += rest % 2 != 0;
  return Value(bits);
}

Result<Value> is_integer(Runtime&, const Value& self, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("is_integer", arguments, {}));
  const double number = self.as_number();
  return Value(std::isfinite(number) && number == std::floor(number));
}

using Part = DictViewObject::Part;
constexpr Method kDict[] = {{"copy", copy},
                            {"get", get},
                            {"items", view<Part::kItems>},
                            {"keys", view<Part::kKeys>},
                            {"values", view<Part::kValues>}};
constexpr Method kList[] = {{"copy", copy}, {"count", count}, {"index", index}};
constexpr Method kTuple[] = {{"count", count}, {"index", index}};
constexpr Method kInteger[] = {{"bit_count", bit_count}, {"bit_length", bit_length}};
constexpr Method kFloat[] = {{"is_integer", is_integer}};

}  // namespace

std::span<const Method> container_methods(Kind kind) {
  switch (kind) {
    case Kind::kDict:
      return kDict;
    case Kind::kList:
      return kList;
    case Kind::kTuple:
    case Kind::kRange:
      return kTuple;
    default:
      return {};
  }
}

std::span<const Method> number_methods(Kind kind) {
  if (kind == Kind::kInteger || kind == Kind::kBool) return kInteger;
  return kind == Kind::kFloat ? std::span<const Method>(kFloat) : std::span<const Method>();
}

}  // namespace metallic::jinja
