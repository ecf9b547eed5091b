// Which of the pre-tokenisers that GGUF knows by name tokenizer.json describes.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "metallic/result.h"

namespace metallic::convert {

// `pre_tokenizer` is that member of tokenizer.json; `ignore_merges` is its model's; `preferred` is the name chosen
// among several for the same thing, if it is one of them. kUnsupported shows the structure and lists the known names.
Result<std::string> name_pre_tokenizer(const nlohmann::json& pre_tokenizer, bool ignore_merges,
                                       std::string_view preferred);

}  // namespace metallic::convert
