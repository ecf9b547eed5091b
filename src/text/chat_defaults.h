// What to do where a model file brings no chat template.
#pragma once

#include <string_view>

namespace metallic {

// ChatML, the format most instruction-tuned models without a template were trained on. It is a guess: whoever falls
// back to it tells the user so.
std::string_view default_chat_template();

}  // namespace metallic
