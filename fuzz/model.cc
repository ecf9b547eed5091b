// A whole model file on any bytes: `verify` opens it, reads sizes, weights, vocabulary and template, and evaluates.
#include "engine/verify.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const metallic::MemoryFile file(data, size);
  const metallic::VerifyReport report = metallic::verify_file(file.path(), {.deep = true, .threads = 1});
  if (report.checks.empty()) __builtin_trap();
  return 0;
}
