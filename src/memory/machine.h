// Descriptions of machines: in JSON files, so that plans can be made for machines that are not at hand, and of this
// one.
#pragma once

#include <string>

#include "memory/plan.h"

namespace metallic {

// {"name": "PC", "ram_gb": 64, "ram_gb_per_s": 60, "gpu_gb": 24, …}: docs/memory.md has all fields. kInvalidArgument
// names a field that is unknown or no positive number; `source` is for messages.
Result<Machine> parse_machine(const std::string& json, const std::string& source);

// The fields that are known, so that they can be read back.
std::string machine_json(const Machine& machine);

}  // namespace metallic
