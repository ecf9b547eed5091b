// How fast a file can be read from its disk.
#pragma once

#include <cstdint>
#include <string>

#include "metallic/result.h"

namespace metallic {

// Bytes a second that several threads read of the file past the page cache, for a fraction of a second. kUnsupported if
// its file system cannot read past the cache, or the file is too small to tell.
Result<double> measure_disk_rate(const std::string& path);

// Names the disk that holds the file: the same for all files on it. Empty if there is no such file.
std::string disk_name(const std::string& path);

}  // namespace metallic
