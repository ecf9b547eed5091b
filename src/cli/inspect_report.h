// The two reports of `metallic inspect`: text for a person, JSON for a program.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "metallic/gguf.h"

namespace metallic::cli {

// What tensors of one format come to.
struct FormatTotal {
  Format format;
  uint64_t tensors = 0;
  uint64_t elements = 0;
  uint64_t bytes = 0;
};
std::vector<FormatTotal> total_by_format(const GgufFile& file);  // largest first

// The value of "<general.architecture>.context_length", if the file has it.
std::optional<uint64_t> context_length(const GgufFile& file);

using Emit = std::function<Status(const std::string& text)>;

// Hands the report to `emit` in pieces.
Status write_text_report(const GgufFile& file, bool tensors, const Emit& emit);
Status write_json_report(const GgufFile& file, const Emit& emit);

}  // namespace metallic::cli
