// What the tests of templates share: golden data made by jinja2, and rendering with variables alone.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "metallic/chat.h"

namespace metallic::jinja {

using Json = nlohmann::ordered_json;

// tests/data/templates/NAME, made by tools/make-template-golden.py.
inline Json golden(const std::string& name) {
  std::ifstream file(std::string(METALLIC_SOURCE_DIR) + "/tests/data/templates/" + name);
  Json data = Json::parse(file, nullptr, false);
  EXPECT_FALSE(data.is_discarded()) << name;
  return data;
}

inline Result<std::string> render(const std::string& source, const std::string& variables_json = "{}") {
  const auto compiled = ChatTemplate::parse(source);
  if (!compiled) return tl::unexpected<Error>(compiled.error());
  ChatOptions options;
  options.variables_json = variables_json;
  return compiled->render_json("[]", options);
}

// Holds a result against an expectation that is null where jinja2 fails.
inline void expect_as_jinja2(const Result<std::string>& result, const Json& expected) {
  if (expected.is_null()) {
    EXPECT_FALSE(result) << "jinja2 fails, we render: " << *result;
  } else {
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(*result, expected.get<std::string>());
  }
}

}  // namespace metallic::jinja
