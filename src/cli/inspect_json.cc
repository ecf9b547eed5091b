// What `metallic inspect --json` gives a program: everything the header holds, one entry a line. The outer object is
// put together here rather than in memory, so that a file with very many keys costs neither memory nor time.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/inspect_report.h"

namespace metallic::cli {
namespace {

using Json = nlohmann::ordered_json;

// Bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// JSON has no NaN and no infinities; as strings they survive.
Json number_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

Json value_json(const MetadataValue& value) {
  if (const auto text = value.as_string()) return *text;
  if (const auto flag = value.as_bool()) return *flag;
  if (const auto number = value.as_unsigned()) return *number;
  if (const auto number = value.as_signed()) return *number;
  if (const MetadataArray* array = value.as_array()) {
    Json elements = Json::array();
    for (size_t i = 0; i < array->size(); ++i) elements.push_back(value_json(array->at(i)));
    return elements;
  }
  return number_json(*value.as_number());
}

Json entry_json(const MetadataValue& value) {
  Json json = {{"type", metadata_type_name(value.type())}};
  if (value.as_array() != nullptr) json["element_type"] = metadata_type_name(value.as_array()->element_type());
  json["value"] = value_json(value);
  return json;
}

Json tensor_json(const TensorInfo& info) {
  return {{"name", info.name},
          {"format", format_info(info.format).name},
          {"shape", std::vector<uint64_t>(info.size.begin(), info.size.begin() + info.rank)},
          {"file", info.file},
          {"offset", info.offset},
          {"bytes", info.bytes}};
}

Json formats_json(const GgufFile& file) {
  Json formats = Json::array();
  for (const FormatTotal& total : total_by_format(file))
    formats.push_back({{"format", format_info(total.format).name},
                       {"tensors", total.tensors},
                       {"elements", total.elements},
                       {"bytes", total.bytes}});
  return formats;
}

Json text_or_null(const GgufFile& file, const char* key) {
  const MetadataValue* value = file.find(key);
  return value != nullptr && value->as_string() ? Json(*value->as_string()) : Json();
}

std::string summary(const GgufFile& file) {
  uint64_t parameters = 0;
  for (const TensorInfo& info : file.tensors()) parameters += info.elements();
  const std::optional<uint64_t> context = context_length(file);
  const Json facts = {{"file", file.path()},
                      {"files", file.file_count()},
                      {"version", file.version()},
                      {"alignment", file.alignment()},
                      {"bytes", file.file_bytes()},
                      {"architecture", text_or_null(file, "general.architecture")},
                      {"name", text_or_null(file, "general.name")},
                      {"parameters", parameters},
                      {"context_length", context ? Json(*context) : Json()},
                      {"formats", formats_json(file)},
                      {"shape_order", "as in the file: the first dimension varies fastest"}};
  std::string out = "{\n";
  for (const auto& [key, value] : facts.items()) out += fmt::format("{}: {},\n", dump(key), dump(value));
  return out;
}

}  // namespace

Status write_json_report(const GgufFile& file, const Emit& emit) {
  METALLIC_TRY(emit(summary(file) + "\"metadata\": {"));
  const char* separator = "\n";
  for (const MetadataEntry& entry : file.metadata()) {
    METALLIC_TRY(emit(fmt::format("{}{}: {}", separator, dump(entry.key), dump(entry_json(entry.value)))));
    separator = ",\n";
  }
  METALLIC_TRY(emit("\n},\n\"tensors\": ["));
  separator = "\n";
  for (const TensorInfo& info : file.tensors()) {
    METALLIC_TRY(emit(separator + dump(tensor_json(info))));
    separator = ",\n";
  }
  return emit("\n]\n}\n");
}

}  // namespace metallic::cli
