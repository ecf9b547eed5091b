// The architectures that are known, as a table in Markdown: what docs/architectures.md shows.
#pragma once

#include <string>

namespace metallic::cli {

std::string architecture_table();

}  // namespace metallic::cli
