// The safetensors reader on any bytes: whatever the header claims, all that it hands out lies inside the file.
#include "memory_file.h"
#include "safetensors/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const metallic::MemoryFile file(data, size);
  const auto opened = metallic::SafetensorsFile::open(file.path());
  if (!opened) {
    if (opened.error().message.empty()) __builtin_trap();
    return 0;
  }
  uint64_t bytes = 0;
  for (const metallic::SafetensorsTensor& tensor : opened->tensors()) {
    const auto content = opened->data(tensor);
    if (opened->find(tensor.name) != &tensor || content.size() != tensor.bytes) __builtin_trap();
    bytes += content.size();
    std::vector<float> values(tensor.elements());
    metallic::safetensors_to_float(tensor.type, content.data(), int64_t(values.size()), values.data());
    opened->release(tensor);
  }
  if (bytes >= size) __builtin_trap();
  return 0;
}
