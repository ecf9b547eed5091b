// Binding the arguments of a call to a builtin's parameters, by position and by name, as Python does.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace metallic::jinja {

class Parameters {
 public:
  // An error for too many arguments, an unknown or doubled name, or fewer than `required` of the first parameters. An
  // empty name makes a parameter positional only.
  static Result<Parameters> bind(std::string_view function, const Arguments& arguments,
                                 std::initializer_list<std::string_view> names, size_t required = 0);

  const Value* given(size_t index) const { return values_[index]; }  // null if it was not
  bool given_some(size_t index) const { return values_[index] && !values_[index]->is_none(); }
  const Value& at(size_t index) const { return *values_[index]; }  // of a required one
  Value or_else(size_t index, Value fallback) const { return values_[index] ? *values_[index] : fallback; }
  bool truth_or(size_t index, bool fallback) const { return values_[index] ? truth(*values_[index]) : fallback; }
  // The value as the type that is wanted; an error that names function and parameter where it is another.
  Result<bool> flag_or(size_t index, bool fallback) const;  // true, false or an integer
  Result<Integer> integer(size_t index) const;
  Result<Integer> integer_or(size_t index, Integer fallback) const;
  Result<std::string_view> text(size_t index) const;
  Result<std::string_view> text_or(size_t index, std::string_view fallback) const;

 private:
  tl::unexpected<Error> wrong_type(size_t index, std::string_view wanted) const;
  std::string function_;
  std::vector<const Value*> values_;
};

}  // namespace metallic::jinja
