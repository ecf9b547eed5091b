#include "base/processors.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <thread>

namespace metallic {
namespace {

// The first line of a file; empty if there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Processors' worth of time in each period (cgroup v2: "max 100000" or "250000 100000"); 0: no limit.
double time_limit(const std::string& cgroup) {
  std::ifstream file(cgroup + "/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

}  // namespace

int available_processors() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, int(std::thread::hardware_concurrency()));
}

int available_cores(const std::string& sys, const std::string& cgroup) {
  cpu_set_t set;
  int cores = available_processors();
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    std::set<std::string> siblings;  // "0,8": the processors of a core
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (!CPU_ISSET(i, &set)) continue;
      const std::string own = first_line(sys + "/cpu" + std::to_string(i) + "/topology/thread_siblings_list");
      siblings.insert(own.empty() ? std::to_string(i) : own);
    }
    cores = int(siblings.size());
  }
  if (const double limit = time_limit(cgroup); limit > 0) cores = std::min(cores, int(std::ceil(limit)));
  return std::max(1, cores);
}

}  // namespace metallic
