// Base64 (RFC 4648, section 4) to bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace metallic {

// Nothing if `text` is no Base64: padding may be missing, other characters may not be there.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace metallic
