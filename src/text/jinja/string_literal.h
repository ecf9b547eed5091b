// The escapes of string literals, as Python's unicode-escape codec reads them.
#pragma once

#include <string>
#include <string_view>

#include "metallic/result.h"

namespace metallic::jinja {

// `body` is what stands between the quotes.
Result<std::string> unescape(std::string_view body);

}  // namespace metallic::jinja
