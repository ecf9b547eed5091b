// The .npy reader on any bytes.
#include "base/npy.h"

#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const metallic::MemoryFile file(data, size);
  const auto array = metallic::read_npy(file.path());
  if (array && array->bytes.size() > size) __builtin_trap();
  return 0;
}
