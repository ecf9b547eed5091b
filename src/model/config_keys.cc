#include "model/config_keys.h"

namespace metallic {

Result<int> ConfigKeys::checked_size(std::string_view key, uint64_t value) const {
  if (value == 0 || value > uint64_t(INT32_MAX))
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; it must be from 1 to {}", file_.path(), name(key), value,
                INT32_MAX);
  return int(value);
}

Result<int> ConfigKeys::uniform_size_or(std::string_view key, int fallback) const {
  const MetadataValue* value = find(key);
  if (value == nullptr || value->as_array() == nullptr) return size_or(key, fallback);
  const auto numbers = value->as_array()->integers();
  if (!numbers || numbers->empty() || numbers->front() < 0)
    return fail(ErrorCode::kCorrupt, "{}: {} must be a positive number or an array of them", file_.path(), name(key));
  for (const int64_t number : *numbers)
    if (number != numbers->front())
      return fail(ErrorCode::kUnsupported, "{}: {} differs between layers, which is not supported", file_.path(),
                  name(key));
  return checked_size(key, uint64_t(numbers->front()));
}

Result<float> ConfigKeys::number(std::string_view key, double fallback) const {
  METALLIC_ASSIGN(const double value, file_.get_number_or(name(key), fallback));
  if (!std::isfinite(float(value)))
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; a finite number is needed", file_.path(), name(key), value);
  return float(value);
}

Result<float> ConfigKeys::positive(std::string_view key, double fallback) const {
  METALLIC_ASSIGN(const float value, number(key, fallback));
  if (value <= 0)
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; a positive number is needed", file_.path(), name(key), value);
  return value;
}

}  // namespace metallic
