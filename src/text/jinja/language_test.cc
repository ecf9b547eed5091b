// The language, feature by feature, against what jinja2 rendered (tools/template_cases.py).
#include "text/jinja/test_support.h"

namespace metallic::jinja {
namespace {

class Language : public testing::TestWithParam<const char*> {};

TEST_P(Language, RendersAsJinja2) {
  const Json data = golden("language.json");
  const std::string variables = data["variables"].dump();
  int count = 0;
  for (const Json& each : data["cases"]) {
    if (each["group"] != GetParam()) continue;
    SCOPED_TRACE(each["template"].get<std::string>());
    expect_as_jinja2(render(each["template"].get<std::string>(), variables), each["expected"]);
    ++count;
  }
  EXPECT_GT(count, 10);
}

INSTANTIATE_TEST_SUITE_P(Groups, Language,
                         testing::Values("literals", "operators", "statements", "whitespace", "filters", "tests",
                                         "methods", "functions"),
                         [](const auto& group) { return std::string(group.param); });

TEST(Language, TimeIsTheLocalTimeOfNow) {
  const auto year = render("{{ strftime_now('%Y') }}");
  ASSERT_TRUE(year) << year.error().message;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  EXPECT_NEAR(std::stoi(*year), local.tm_year + 1900, 1);
  EXPECT_EQ(render("{{ strftime_now('%f')|length }}{{ strftime_now('[%z%Z]') }}").value_or("failed"), "6[]");
}

}  // namespace
}  // namespace metallic::jinja
