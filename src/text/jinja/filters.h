// The filters: {{ value | name(arguments) }}. One table a file, gathered in filters.cc.
#pragma once

#include <span>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace metallic::jinja {

struct Filter {
  const char* name;
  Result<Value> (*apply)(Runtime& runtime, const Value& value, const Arguments& arguments);
};

const Filter* find_filter(std::string_view name);  // null if there is none
// The error of a name that find_filter does not know: whether jinja itself has it.
[[nodiscard]] tl::unexpected<Error> fail_unknown_filter(std::string_view name);

std::span<const Filter> text_filters();      // of strings
std::span<const Filter> number_filters();    // of numbers, and what makes them
std::span<const Filter> sequence_filters();  // of lists: order, parts, aggregates
std::span<const Filter> select_filters();    // map, select, reject and their kin
std::span<const Filter> value_filters();     // of anything: default, tojson, string

}  // namespace metallic::jinja
