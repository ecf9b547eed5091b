#include "base/available_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace metallic {
namespace {

// The whole number that a file begins with; none for "max" and for files that are not there.
std::optional<uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

// The number behind `wanted` in a file of lines "key number"; 0 if there is none.
uint64_t keyed_number(const char* path, std::string_view wanted) {
  std::ifstream file(path);
  std::string key, rest;
  uint64_t number = 0;
  while (file >> key >> number && std::getline(file, rest))
    if (key == wanted) return number;
  return 0;
}

}  // namespace

uint64_t available_memory() {
  const uint64_t machine = keyed_number("/proc/meminfo", "MemAvailable:") << 10;
  // Version 2 of control groups, as seen from inside a container.
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (!limit || !used) return machine;
  // Cached files count as used, and are given back when memory is short.
  const uint64_t cached = keyed_number("/sys/fs/cgroup/memory.stat", "inactive_file") +
                          keyed_number("/sys/fs/cgroup/memory.stat", "active_file");
  const uint64_t kept = *used - std::min(*used, cached);
  const uint64_t left = *limit > kept ? *limit - kept : 0;
  return machine == 0 ? left : std::min(machine, left);
}

}  // namespace metallic
