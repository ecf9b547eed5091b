#include "cli/inspect_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace metallic::cli {

std::vector<FormatTotal> total_by_format(const GgufFile& file) {
  std::vector<FormatTotal> totals;
  for (const FormatInfo& format : all_formats()) totals.push_back({format.format});
  for (const TensorInfo& info : file.tensors()) {
    FormatTotal& total = *std::find_if(totals.begin(), totals.end(),
                                       [&](const FormatTotal& each) { return each.format == info.format; });
    total.tensors += 1;
    total.elements += info.elements();
    total.bytes += info.bytes;
  }
  std::erase_if(totals, [](const FormatTotal& total) { return total.tensors == 0; });
  std::stable_sort(totals.begin(), totals.end(),
                   [](const FormatTotal& a, const FormatTotal& b) { return a.bytes > b.bytes; });
  return totals;
}

std::optional<uint64_t> context_length(const GgufFile& file) {
  const MetadataValue* architecture = file.find("general.architecture");
  if (architecture == nullptr || !architecture->as_string()) return std::nullopt;
  const MetadataValue* length = file.find(fmt::format("{}.context_length", *architecture->as_string()));
  return length != nullptr ? length->as_unsigned() : std::nullopt;
}

}  // namespace metallic::cli
