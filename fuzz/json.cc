// JSON of any bytes, where metallic takes it from others: messages, tools and variables of a request, through a
// template that prints them all; the configuration files of a Hugging Face folder.
#include <nlohmann/json.hpp>
#include <string_view>

#include "convert/json_object.h"
#include "metallic/chat.h"

namespace {

void render(std::string_view json) {
  static const auto chat = metallic::ChatTemplate::parse(
      "{% for m in messages %}{{ m.role }}{{ m['content'] | string | trim }}{{ m | tojson }}{{ m | tojson(indent=2) }}"
      "{% for c in m.tool_calls or [] %}{{ c.function.arguments | items | list }}{% endfor %}{% endfor %}"
      "{{ tools | tojson }}{{ x }}");
  if (!chat) __builtin_trap();
  (void)chat->render_json(json, {});
  metallic::ChatOptions options;
  options.tools_json = json;
  (void)chat->render_json("[]", options);
  options.tools_json.clear();
  options.variables_json = json;
  (void)chat->render_json("[]", options);
}

void read_as_every_type(std::string_view json) {
  const auto object = metallic::convert::JsonObject::parse("fuzz", json);
  if (!object) {
    if (object.error().message.empty()) __builtin_trap();
    return;
  }
  for (const auto& [name, value] : object->json().items()) {
    const std::string_view key = name;
    (void)object->integer({key}), (void)object->size({key}), (void)object->number({key}), (void)object->text({key});
    (void)object->numbers({key}), (void)object->texts({key}), (void)object->flag_or({key}, false);
    if (const auto inner = object->object({key})) (void)object->overlaid_with(*inner);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  render(json);
  read_as_every_type(json);
  return 0;
}
