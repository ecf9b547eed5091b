// What a template cannot do: run for ever, fill the memory, exhaust the stack.
#include "text/jinja/test_support.h"

namespace metallic::jinja {
namespace {

std::string repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

void expect_out_of_range(const std::string& source, const std::string& variables = "{}") {
  SCOPED_TRACE(source.substr(0, 120));
  const auto result = render(source, variables);
  ASSERT_FALSE(result) << "rendered " << result->size() << " bytes";
  EXPECT_EQ(result.error().code, ErrorCode::kOutOfRange) << result.error().message;
}

TEST(Limits, DeepNestingIsAnErrorAtParseTime) {
  constexpr size_t kDeep = 100'000;
  expect_out_of_range("{{ " + repeated("(", kDeep) + "1" + repeated(")", kDeep) + " }}");
  expect_out_of_range("{{ " + repeated("[", kDeep) + repeated("]", kDeep) + " }}");
  expect_out_of_range("{{ " + repeated("{1:", kDeep) + "1" + repeated("}", kDeep) + " }}");
  expect_out_of_range("{{ " + repeated("not ", kDeep) + "1 }}");
  expect_out_of_range("{{ " + repeated("-", kDeep) + "1 }}");
  expect_out_of_range("{{ " + repeated("1 if 1 else ", kDeep) + "1 }}");
  expect_out_of_range("{{ " + repeated("f(", kDeep) + repeated(")", kDeep) + " }}");
  expect_out_of_range("{{ " + repeated("x is in ", 1) + repeated("x[", kDeep) + repeated("]", kDeep) + " }}");
  expect_out_of_range(repeated("{% if 1 %}", kDeep) + repeated("{% endif %}", kDeep));
  expect_out_of_range(repeated("{% for x in y %}", kDeep));
  expect_out_of_range("{% for " + repeated("(", kDeep) + "a" + repeated(")", kDeep) + " in b %}{% endfor %}");
}

TEST(Limits, LongChainsAreAnErrorAtParseTime) {
  constexpr size_t kLong = 100'000;
  for (const char* link : {" + 1", " * 1", " ** 1", " and 1", " or 1", "|abs", ".a", "[0]", "()", " if 1"}) {
    expect_out_of_range("{{ 1" + repeated(link, kLong) + " }}");
  }
}

TEST(Limits, LongFlatTemplatesAreNoError) {
  constexpr size_t kLong = 20'000;
  EXPECT_TRUE(render("{{ 'a'" + repeated(" ~ 'a'", kLong) + " }}"));
  EXPECT_TRUE(render("{{ [" + repeated("1,", kLong) + "]|length }}"));
  EXPECT_TRUE(render(repeated("{{ 1 }}{% set x = 1 %}{# #}", kLong)));
  EXPECT_TRUE(render("{% if 0 %}" + repeated("{% elif 0 %}", kLong) + "{% endif %}"));
  EXPECT_TRUE(render("{{ 1" + repeated(" < 2", 1) + repeated(" == 2", kLong) + " }}"));
}

TEST(Limits, EndlessRecursionIsAnError) {
  expect_out_of_range("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
  expect_out_of_range(
      "{% macro f() %}{% for x in [1] %}{% if x %}{{ [f()]|map('upper')|list }}{% endif %}{% endfor %}"
      "{% endmacro %}{{ f() }}");
  expect_out_of_range("{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}");
  expect_out_of_range("{% macro f(a=f()) %}{% endmacro %}{{ f() }}");
  expect_out_of_range("{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}");
  expect_out_of_range("{% set n = namespace() %}{% set n.n = n %}{{ n }}");
  expect_out_of_range("{% set n = namespace() %}{% set n.n = [n] %}{{ n.n }}");
}

TEST(Limits, StepsAreCounted) {
  const std::string loops = "{% for a in range(100000) %}{% for b in range(100000) %}";
  expect_out_of_range(loops + "{% endfor %}{% endfor %}");
  expect_out_of_range(loops + "{% set x = a + b %}{% endfor %}{% endfor %}");
  expect_out_of_range(
      "{% for a in range(100000) %}{% for b in range(99999)|list|sort(reverse=true) %}{% endfor %}{% endfor %}");
  expect_out_of_range("{% for a in range(100000) %}{% if 'x' in range(100000) %}{% endif %}{% endfor %}");
}

TEST(Limits, OutputIsBounded) {
  expect_out_of_range("{% for a in range(100000) %}{{ 'x' * 10000 }}{% endfor %}");
  expect_out_of_range("{% set s = 'x' * 100000 %}{% for a in range(100000) %}{{ s }}{% endfor %}");
  expect_out_of_range("{% for a in range(100000) %}" + repeated("text ", 1000) + "{% endfor %}");
}

TEST(Limits, NoOperationMakesTooMuchAtOnce) {
  for (const char* expression : {"'x' * 10 ** 30",
                                 "10 ** 12 * 'x'",
                                 "[1] * 10 ** 30",
                                 "(1, 2) * 10 ** 9",
                                 "'x'.center(10 ** 15)",
                                 "'x'.ljust(10 ** 15)",
                                 "'x'.zfill(10 ** 15)",
                                 "'x'|center(10 ** 15)",
                                 "'\\t'.expandtabs(10 ** 15)",
                                 "'x'|indent(10 ** 15, true)",
                                 "[1]|batch(10 ** 15, 0)|list",
                                 "[1]|slice(10 ** 15)|list",
                                 "[1]|tojson(indent=10 ** 15)",
                                 "('x' * 10 ** 6).replace('x', 'y' * 10 ** 6)",
                                 "('x' * 10 ** 6)|replace('', 'y' * 10 ** 6)",
                                 "([('x' * 10 ** 6)] * 10 ** 5)|join",
                                 "(('x' * 10 ** 6).join(['a'] * 10 ** 5))",
                                 "([('x' * 10 ** 6)] * 10 ** 5)|tojson",
                                 "([('x' * 10 ** 6)] * 10 ** 5)|string",
                                 "('\\n' * 10 ** 6)|indent('x' * 10 ** 6, blank=true)",
                                 "'%s' * 10 ** 5 % (('x' * 10 ** 6,) * 10 ** 5)",
                                 "('{0}' * 10 ** 5).format('x' * 10 ** 6)"}) {
    expect_out_of_range(std::string("{{ ") + expression + " }}");
  }
  EXPECT_FALSE(render("{{ '%999999999d' % 1 }}"));
  EXPECT_FALSE(render("{{ '%.999999999f' % 1 }}"));
  EXPECT_FALSE(render("{{ '{:999999999}'.format(1) }}"));
  EXPECT_FALSE(render("{{ '{:.999999999f}'.format(1) }}"));
  EXPECT_FALSE(render("{{ range(100001) }}"));
  EXPECT_FALSE(render("{{ 2 ** 200 }}"));
}

TEST(Limits, SharedStructureDoesNotExplode) {
  const std::string doubled =
      "{% set n = namespace(l=[1], t=(1,)) %}{% for i in range(60) %}"
      "{% set n.l = [n.l, n.l] %}{% set n.t = (n.t, n.t) %}{% endfor %}";
  expect_out_of_range(doubled + "{{ n.l }}");
  expect_out_of_range(doubled + "{{ n.l|tojson }}");
  expect_out_of_range(doubled + "{{ {n.t: 1} }}");
  expect_out_of_range(doubled +
                      "{% set m = namespace(l=[1]) %}{% for i in range(60) %}{% set m.l = [m.l, m.l] %}"
                      "{% endfor %}{{ n.l == m.l }}");
}

TEST(Limits, DeepValuesAreRefused) {
  expect_out_of_range(
      "{% set n = namespace(l=[]) %}{% for i in range(1000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}");
  expect_out_of_range(
      "{% set n = namespace(l=[]) %}{% for i in range(1000) %}{% set n.l = {'a': n.l}.items() %}{% endfor %}");
  expect_out_of_range(
      "{% set n = namespace(l=[1]) %}{% for i in range(1000) %}{% set n.l = [n.l]|batch(1) %}{% endfor %}");
  expect_out_of_range("{% set n = namespace(l=1) %}{% for i in range(1000) %}{% set n.l = cycler(n.l) %}{% endfor %}");
  const std::string deep = repeated("[", 1000) + repeated("]", 1000);
  EXPECT_FALSE(render("{{ x }}", "{\"x\": " + deep + "}"));
  EXPECT_FALSE(render("{{ x }}", repeated("{\"x\":", 100'000)));
}

TEST(Limits, RingsOfNamespacesAndLoopsAreFreed) {  // the sanitizer's leak check is the judge
  EXPECT_TRUE(
      render("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}"
             "{% for x in [a] %}{% set a.l = loop %}{{ loop.changed(loop, a)|string|length }}"
             "{% macro m() %}{{ a }}{% endmacro %}{% set a.m = m %}{% set a.c = cycler(a, loop) %}{% endfor %}"));
}

}  // namespace
}  // namespace metallic::jinja
