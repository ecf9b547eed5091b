#include "text/jinja/parameters.h"

#include <algorithm>

namespace metallic::jinja {

Result<Parameters> Parameters::bind(std::string_view function, const Arguments& arguments,
                                    std::initializer_list<std::string_view> names, size_t required) {
  Parameters out;
  out.function_ = function;
  out.values_.resize(names.size(), nullptr);
  if (arguments.positional.size() > names.size()) {
    return refuse("{}() takes at most {} arguments, not {}", function, names.size(), arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) out.values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto* at = std::find(names.begin(), names.end(), std::string_view(name));
    if (name.empty() || at == names.end()) return refuse("{}() has no argument '{}'", function, name);
    const size_t index = size_t(at - names.begin());
    if (out.values_[index]) return refuse("{}() got two values for its argument '{}'", function, name);
    out.values_[index] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!out.values_[i]) return refuse("{}() needs its argument {}", function, i + 1);
  }
  return out;
}

tl::unexpected<Error> Parameters::wrong_type(size_t index, std::string_view wanted) const {
  if (at(index).is_undefined()) return fail_undefined(at(index));
  return refuse("argument {} of {}() must be {}, not {}", index + 1, function_, wanted, type_name(at(index)));
}

Result<Integer> Parameters::integer(size_t index) const {
  if (!at(index).is_integral()) return wrong_type(index, "an integer");
  return at(index).as_integer();
}

Result<bool> Parameters::flag_or(size_t index, bool fallback) const {
  METALLIC_ASSIGN(const Integer flag, integer_or(index, fallback ? 1 : 0));
  return flag != 0;
}

Result<Integer> Parameters::integer_or(size_t index, Integer fallback) const {
  return given(index) ? integer(index) : Result<Integer>(fallback);
}

Result<std::string_view> Parameters::text(size_t index) const {
  if (!at(index).is_string()) return wrong_type(index, "a string");
  return std::string_view(at(index).text());
}

Result<std::string_view> Parameters::text_or(size_t index, std::string_view fallback) const {
  return given(index) ? text(index) : Result<std::string_view>(fallback);
}

}  // namespace metallic::jinja
