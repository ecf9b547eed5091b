#include "text/jinja/filters.h"

#include <unordered_map>

namespace metallic::jinja {
namespace {

std::unordered_map<std::string_view, const Filter*> gather() {
  std::unordered_map<std::string_view, const Filter*> all;
  for (const auto& table : {text_filters(), number_filters(), sequence_filters(), select_filters(), value_filters()}) {
    for (const Filter& filter : table) all.emplace(filter.name, &filter);
  }
  return all;
}

}  // namespace

const Filter* find_filter(std::string_view name) {
  static const auto all = gather();
  const auto at = all.find(name);
  return at == all.end() ? nullptr : at->second;
}

tl::unexpected<Error> fail_unknown_filter(std::string_view name) {
  for (const std::string_view known : {"pprint", "random", "striptags", "urlize", "wordwrap"}) {
    if (name == known) return fail(ErrorCode::kUnsupported, "jinja's filter '{}' is not supported", name);
  }
  return refuse("there is no filter '{}'", name);
}

}  // namespace metallic::jinja
