// A chat template of any text, rendered. A NUL byte ends the template; what follows are the messages as JSON.
#include <string_view>

#include "metallic/chat.h"

namespace {
constexpr std::string_view kMessages =
    R"([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "content": "2"}, {"role": "user", "content": [{"type": "text", "text": "so?"}]}])";
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\0');
  const auto chat = metallic::ChatTemplate::parse(text.substr(0, end));
  if (!chat) return 0;
  metallic::ChatOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.tools_json = R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])";
  (void)chat->render_json(end == std::string_view::npos ? kMessages : text.substr(end + 1), options);
  return 0;
}
