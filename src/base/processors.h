// How many threads are worth having on this machine.
#pragma once

#include <string>

namespace metallic {

// Logical processors that this process may run on; at least 1.
int available_processors();

// Cores among them (two logical processors of one core share its units, so that a second thread there gains nothing),
// but no more than the processor time that a container may use, rounded up; at least 1. `sys` and `cgroup` are where
// Linux describes them; what cannot be read there limits nothing.
int available_cores(const std::string& sys = "/sys/devices/system/cpu", const std::string& cgroup = "/sys/fs/cgroup");

}  // namespace metallic
