// tokenizer.model, a protobuf message, of any bytes.
#include "convert/sentencepiece_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto model = metallic::convert::parse_sentencepiece_model(std::as_bytes(std::span(data, size)));
  if (!model ? model.error().message.empty() : model->pieces.empty() || model->pieces.size() > size) __builtin_trap();
  return 0;
}
