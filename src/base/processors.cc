#include "base/processors.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <thread>
#ifdef METALLIC_HAS_HWLOC
#include <hwloc.h>
#endif

namespace metallic {
namespace {

// Processors' worth of time in each period (cgroup v2: "max 100000" or "250000 100000"); 0: no limit.
double time_limit(const std::string& cgroup) {
  std::ifstream file(cgroup + "/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

// The numbers of the processors that this process may run on; empty if the system does not say.
std::vector<int> allowed_processors() {
  cpu_set_t set;
  std::vector<int> numbers;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return numbers;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) numbers.push_back(i);
  return numbers;
}

}  // namespace

int available_processors() {
  if (const size_t count = allowed_processors().size(); count > 0) return int(count);
  return std::max(1, int(std::thread::hardware_concurrency()));
}

Cores find_cores() {
  Cores cores;
#ifdef METALLIC_HAS_HWLOC
  hwloc_topology_t topology;
  if (::hwloc_topology_init(&topology) != 0) return cores;
  // Caches, packages and devices are not asked for: they take most of the time.
  ::hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
  ::hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
  if (::hwloc_topology_load(topology) == 0) {
    for (hwloc_obj_t core = nullptr;
         (core = ::hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != nullptr;) {
      std::vector<int>& own = cores.emplace_back();
      int processor = -1;
      while ((processor = ::hwloc_bitmap_next(core->cpuset, processor)) >= 0) own.push_back(processor);
    }
  }
  ::hwloc_topology_destroy(topology);
#endif
  return cores;
}

const Cores& machine_cores() {
  static const Cores cores = find_cores();
  return cores;
}

Cores available_core_processors(const Cores& machine) {
  Cores cores;
  std::vector<int> others = allowed_processors();
  for (const std::vector<int>& core : machine) {
    std::vector<int> own;
    for (const int processor : core)
      if (std::erase(others, processor) > 0) own.push_back(processor);
    if (!own.empty()) cores.push_back(std::move(own));
  }
  for (const int processor : others) cores.push_back({processor});
  return cores;
}

int available_cores(const std::string& cgroup, const Cores& machine) {
  const size_t known = available_core_processors(machine).size();
  int cores = known > 0 ? int(known) : available_processors();
  if (const double limit = time_limit(cgroup); limit > 0) cores = std::min(cores, int(std::ceil(limit)));
  return std::max(1, cores);
}

Cores cores_to_bind(int threads) {
  const char* wish = std::getenv("METALLIC_PIN");
  if (threads < 2 || (wish != nullptr && std::string_view(wish) == "0")) return {};
  Cores cores = available_core_processors();
  if (int(cores.size()) != threads) cores.clear();
  return cores;
}

int threads_beside_gpu(int asked) { return asked > 0 ? asked : std::max(1, available_cores() - 1); }

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "processor";
}

bool bind_this_thread(const std::vector<int>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int processor : processors)
    if (processor >= 0 && processor < CPU_SETSIZE) CPU_SET(size_t(processor), &set);
  return ::sched_setaffinity(0, sizeof(set), &set) == 0;
}

}  // namespace metallic
