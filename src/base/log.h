// Log lines for people, on standard error. The library is silent below its level: warnings only, unless told otherwise.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace metallic {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view line);

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace metallic
