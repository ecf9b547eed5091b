// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <string>

namespace metallic {

// Where the kernel says so; tests have their own.
struct MemoryFiles {
  std::string proc = "/proc", groups = "/sys/fs/cgroup";
};

// Bytes that the machine could give without swapping, or what is left of the limit of a control group that this process
// belongs to (version 1 or 2, the groups around it included), if that is less. At least 1 where it is known, else 0.
uint64_t available_memory(const MemoryFiles& files = {});

// Bytes of RAM that only this process has, so without mapped files; 0: not known.
uint64_t own_memory(const MemoryFiles& files = {});

// The share of the last ten seconds in which somebody stood still for want of memory (pressure stall information), in
// this process's control group or else on the machine; 0 where that is not known.
double memory_stalls(const MemoryFiles& files = {});

}  // namespace metallic
