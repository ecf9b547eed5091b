// Broken templates: whatever stands in one, rendering it ends, with text or with an error that says where.
#include <random>

#include "text/jinja/test_support.h"

namespace metallic::jinja {
namespace {

std::vector<std::string> all_templates() {
  std::vector<std::string> templates;
  const Json language = golden("language.json"), models = golden("models.json");
  for (const Json& each : language["cases"]) templates.push_back(each["template"].get<std::string>());
  for (const auto& model : models["models"].items()) {
    templates.push_back(model.value()["template"].get<std::string>());
  }
  return templates;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& templates) : templates_(templates) {}

  std::string mutated() {
    std::string text = any();
    const size_t changes = 1 + below(3);
    for (size_t i = 0; i < changes; ++i) change(text);
    return text;
  }

 private:
  size_t below(size_t limit) { return random_() % limit; }
  const std::string& any() { return templates_[below(templates_.size())]; }

  void change(std::string& text) {
    static const std::string kPieces[] = {"{{",
                                          "}}",
                                          "{%",
                                          "%}",
                                          "{#",
                                          "#}",
                                          "-",
                                          "'",
                                          "\"",
                                          "(",
                                          ")",
                                          "[",
                                          "]",
                                          "|",
                                          ".",
                                          "~",
                                          "**",
                                          " if ",
                                          " else ",
                                          " is ",
                                          " not ",
                                          " in ",
                                          "0",
                                          "1e9",
                                          "\\",
                                          "\xff",
                                          "\n",
                                          ",",
                                          ":",
                                          "=",
                                          "*",
                                          "{% endfor %}",
                                          "{% for x in x %}",
                                          "loop",
                                          "x"};
    const size_t at = below(text.size() + 1);
    switch (below(5)) {
      case 0:
        text.erase(at, 1 + below(4));
        break;
      case 1:
        text.insert(at, kPieces[below(std::size(kPieces))]);
        break;
      case 2:
        text.insert(at, 1, char(below(256)));
        break;
      case 3:
        if (at < text.size()) text[at] = char(below(256));
        break;
      default: {
        const std::string& other = any();
        const size_t from = below(other.size() + 1);
        text.insert(at, other.substr(from, below(20)));
      }
    }
  }

  const std::vector<std::string>& templates_;
  std::mt19937 random_{12345};
};

TEST(Mutations, EndInTextOrInAnErrorWithAPlace) {
  const std::vector<std::string> templates = all_templates();
  const std::string variables = golden("language.json")["variables"].dump();
  Mutator mutator(templates);
  int rendered = 0, refused = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string source = mutator.mutated();
    const auto result = render(source, variables);
    if (result) {
      ++rendered;
      continue;
    }
    ++refused;
    const bool has_place = result.error().message.find("line ") != std::string::npos ||
                           result.error().message.find("byte ") != std::string::npos;
    EXPECT_TRUE(has_place) << source << "\n" << result.error().message;
  }
  EXPECT_GT(rendered, 500);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace metallic::jinja
