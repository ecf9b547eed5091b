// Making errors, passing them on, and the one table that maps an error code to what the outside sees.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

#include "metallic/result.h"

namespace metallic {

// fail(code, "format {}", args...) is what a function that returns a Result returns when it fails.
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

// Hands an error on, with what was being done in front of its message.
[[nodiscard]] tl::unexpected<Error> fail_while(std::string_view doing, const Error& error);

struct ErrorCodeInfo {
  ErrorCode code;
  const char* name;  // as in JSON: "invalid_argument"
  int exit_status;   // of the command: 1, or 2 for usage
  int http_status;
};
const ErrorCodeInfo& error_code_info(ErrorCode code);

}  // namespace metallic

#define METALLIC_CONCAT_INNER(a, b) a##b
#define METALLIC_CONCAT(a, b) METALLIC_CONCAT_INNER(a, b)

// METALLIC_TRY(status_expression): returns the error to the caller, if there is one.
#define METALLIC_TRY(expression)                                                   \
  do {                                                                             \
    if (auto metallic_try = (expression); !metallic_try)                           \
      return ::tl::unexpected<::metallic::Error>(std::move(metallic_try.error())); \
  } while (false)

// METALLIC_ASSIGN(auto value, result_expression): declares value, or returns the error to the caller.
#define METALLIC_ASSIGN(declaration, expression) \
  METALLIC_ASSIGN_INNER(METALLIC_CONCAT(metallic_result_, __LINE__), declaration, expression)
#define METALLIC_ASSIGN_INNER(result, declaration, expression)                        \
  auto result = (expression);                                                         \
  if (!result) return ::tl::unexpected<::metallic::Error>(std::move(result.error())); \
  declaration = std::move(*result)
