// How fast a device is given bytes.
#pragma once

#include "backend/backend.h"

namespace metallic {

// Bytes a second from pinned host memory; 0 for a backend that computes in host memory, or one that is short of memory.
double measure_link(Backend& backend);

}  // namespace metallic
