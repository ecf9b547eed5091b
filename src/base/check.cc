#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace metallic {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "metallic: internal error, please report it: %s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace metallic
