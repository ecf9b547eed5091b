#include "base/available_memory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace metallic {
namespace {

// The whole number that a file begins with; none for "max" and for files that are not there.
std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

// The number behind `wanted` in a file of lines "key number"; 0 if there is none.
uint64_t keyed_number(const std::string& path, std::string_view wanted) {
  std::ifstream file(path);
  std::string key, rest;
  uint64_t number = 0;
  while (file >> key >> number && std::getline(file, rest))
    if (key == wanted) return number;
  return 0;
}

// What the two versions of control groups call the same things.
struct GroupNames {
  const char *controller, *folder, *limit, *used, *inactive, *active;
};
constexpr GroupNames kVersions[] = {
    {"", "", "memory.max", "memory.current", "inactive_file", "active_file"},
    {"memory", "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"},
};

// "/user.slice/a" of a line "0::/user.slice/a", or of "4:cpu,memory:/user.slice/a"; "/" if there is none.
std::string group_of(const MemoryFiles& files, const GroupNames& names) {
  std::ifstream file(files.proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    if (controllers.find(fmt::format(",{},", names.controller)) != std::string::npos) return line.substr(second + 1);
  }
  return "/";
}

// The group itself, then those around it, to the one that is mounted: as seen from inside a container, its own.
template <class Look>
void each_folder(const MemoryFiles& files, const GroupNames& names, const Look& look) {
  std::string group = group_of(files, names);
  while (!group.empty() && group.back() == '/') group.pop_back();
  for (;;) {
    look(files.groups + names.folder + group);
    if (group.empty()) return;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

// What is left of the limit of one group; none if it has none. Cached files count as used, and are given back when
// memory is short.
std::optional<uint64_t> left_in(const std::string& folder, const GroupNames& names) {
  const auto limit = number_in(folder + "/" + names.limit), used = number_in(folder + "/" + names.used);
  if (!limit || !used) return std::nullopt;
  const uint64_t cached =
      keyed_number(folder + "/memory.stat", names.inactive) + keyed_number(folder + "/memory.stat", names.active);
  const uint64_t kept = *used - std::min(*used, cached);
  return *limit > kept ? *limit - kept : 0;
}

// Of "some avg10=1.25 avg60=…", in per cent.
std::optional<double> stalls_in(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  double percent = 0;
  if (!(file >> word) || word != "some" || !std::getline(file, word, '=') || !(file >> percent)) return std::nullopt;
  return percent;
}

}  // namespace

uint64_t available_memory(const MemoryFiles& files) {
  const uint64_t machine = keyed_number(files.proc + "/meminfo", "MemAvailable:") << 10;
  std::optional<uint64_t> available;
  if (machine > 0) available = machine;
  for (const GroupNames& names : kVersions)
    each_folder(files, names, [&](const std::string& folder) {
      if (const auto left = left_in(folder, names)) available = std::min(available.value_or(*left), *left);
    });
  return available ? std::max<uint64_t>(*available, 1) : 0;
}

uint64_t own_memory(const MemoryFiles& files) {
  std::ifstream file(files.proc + "/self/statm");
  uint64_t size = 0, resident = 0, shared = 0;  // pages
  if (!(file >> size >> resident >> shared)) return 0;
  return (resident - std::min(resident, shared)) * uint64_t(::sysconf(_SC_PAGESIZE));
}

double memory_stalls(const MemoryFiles& files) {
  std::optional<double> percent;
  each_folder(files, kVersions[0], [&](const std::string& folder) {
    if (!percent) percent = stalls_in(folder + "/memory.pressure");
  });
  if (!percent) percent = stalls_in(files.proc + "/pressure/memory");
  return percent.value_or(0) / 100;
}

}  // namespace metallic
