// How much memory this process may still take.
#pragma once

#include <cstdint>

namespace metallic {

// Bytes that the machine could give without swapping, or what is left of the limit of this process's control group, if
// that is less. 0: not known.
uint64_t available_memory();

}  // namespace metallic
