// What `metallic bench` prints.
#pragma once

#include <span>
#include <string>

#include "backend/timing_backend.h"
#include "engine/measure_speed.h"

namespace metallic::cli {

// What is the same for all results.
struct BenchSubject {
  std::string model;  // path, or name of a shape
  std::string architecture;
  std::string backend;
  int threads = 0;
};

// How long the first token took since the program began, and the most memory that was resident.
struct StartResult {
  double seconds = 0;
  uint64_t peak_bytes = 0;
};

// `operations` has an entry for each result, or none.
std::string speed_table(const BenchSubject& subject, std::span<const SpeedResult> results,
                        std::span<const OperationTimes> operations = {});
std::string speed_json(const BenchSubject& subject, std::span<const SpeedResult> results,
                       std::span<const OperationTimes> operations = {});
std::string start_table(const BenchSubject& subject, const StartResult& start);
std::string start_json(const BenchSubject& subject, const StartResult& start);

}  // namespace metallic::cli
