// Messages, tools and variables as JSON of any bytes, through a template that prints them all.
#include <string_view>

#include "metallic/chat.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto chat = metallic::ChatTemplate::parse(
      "{% for m in messages %}{{ m.role }}{{ m['content'] | string | trim }}{{ m | tojson }}{{ m | tojson(indent=2) }}"
      "{% for c in m.tool_calls or [] %}{{ c.function.arguments | items | list }}{% endfor %}{% endfor %}"
      "{{ tools | tojson }}{{ x }}");
  if (!chat) __builtin_trap();
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  (void)chat->render_json(json, {});
  metallic::ChatOptions options;
  options.tools_json = json;
  (void)chat->render_json("[]", options);
  options.tools_json.clear();
  options.variables_json = json;
  (void)chat->render_json("[]", options);
  return 0;
}
