// How many threads are worth having on this machine, and where they run best.
#pragma once

#include <string>
#include <vector>

namespace metallic {

// Logical processors that this process may run on; at least 1.
int available_processors();

// The numbers of each core's logical processors. Two of one core share its units, so that a second thread there gains
// nothing.
using Cores = std::vector<std::vector<int>>;

// The cores of the machine as hwloc sees them; none without hwloc, or if it finds none. Takes some milliseconds.
Cores find_cores();
// What that found when it was first asked for.
const Cores& machine_cores();

// Of these cores what this process may run on; each processor counts as a core if none are known.
Cores available_core_processors(const Cores& machine = machine_cores());

// How many threads to have: one for each core, but no more than the processor time that a container may use, rounded
// up; at least 1. `cgroup` is where Linux describes that; what cannot be read there limits nothing.
int available_cores(const std::string& cgroup = "/sys/fs/cgroup", const Cores& machine = machine_cores());

// How many threads to have beside a GPU, if `asked` is 0: all but one, which is for the driver and for everybody else.
// Teams that take all cores are bound to them, and then wait for one another whenever something else runs.
int threads_beside_gpu(int asked);

// What Linux calls the processor; "processor" where it does not say.
std::string processor_name();

// Where the workers of a pool of `threads` threads belong, by core: none if the threads leave cores to others, since
// only the system knows which of them are idle. METALLIC_PIN=0 in the environment: none either.
Cores cores_to_bind(int threads);

// From now on the calling thread runs on these logical processors alone. False if the system refuses.
bool bind_this_thread(const std::vector<int>& processors);

}  // namespace metallic
