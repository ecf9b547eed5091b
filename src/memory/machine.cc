#include "memory/machine.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"

namespace metallic {
namespace {

// A field, what it is in the unit of the file, and where it goes.
struct RateField {
  const char* name;
  double unit;
  double Machine::*to;
};
struct BytesField {
  const char* name;
  double unit;
  uint64_t Machine::*to;
};
constexpr RateField kRates[] = {
    {"ram_gb_per_s", 1e9, &Machine::ram_rate},
    {"ram_traffic_gb_per_s", 1e9, &Machine::ram_traffic_rate},
    {"cpu_gop_per_s", 1e9, &Machine::cpu_rate},
    {"cpu_decode_gb_per_s", 1e9, &Machine::cpu_decode_rate},
    {"cpu_prompt_gop_per_s", 1e9, &Machine::cpu_prompt_rate},
    {"cpu_head_gb_per_s", 1e9, &Machine::cpu_head_rate},
    {"cpu_file_gb_per_s", 1e9, &Machine::cpu_file_rate},
    {"cpu_product_gb_per_s", 1e9, &Machine::cpu_product_rate},
    {"cpu_attention_gb_per_s", 1e9, &Machine::cpu_attention_rate},
    {"cpu_attention_gop_per_s", 1e9, &Machine::cpu_attention_operation_rate},
    {"cpu_block_us", 1e-6, &Machine::cpu_block_seconds},
    {"gpu_gb_per_s", 1e9, &Machine::gpu_rate},
    {"gpu_tflop_per_s", 1e12, &Machine::gpu_operation_rate},
    {"gpu_decode_gb_per_s", 1e9, &Machine::gpu_decode_rate},
    {"gpu_prompt_tflop_per_s", 1e12, &Machine::gpu_prompt_rate},
    {"gpu_long_prompt_tflop_per_s", 1e12, &Machine::gpu_long_prompt_rate},
    {"gpu_head_gb_per_s", 1e9, &Machine::gpu_head_rate},
    {"gpu_attention_gb_per_s", 1e9, &Machine::gpu_attention_rate},
    {"gpu_attention_tflop_per_s", 1e12, &Machine::gpu_attention_operation_rate},
    {"gpu_block_us", 1e-6, &Machine::gpu_block_seconds},
    {"handover_us", 1e-6, &Machine::handover_seconds},
    {"link_gb_per_s", 1e9, &Machine::link_rate},
    {"link_shared_gb_per_s", 1e9, &Machine::link_shared_rate},
    {"disk_gb_per_s", 1e9, &Machine::disk_rate},
};
constexpr BytesField kBytes[] = {
    {"ram_gb", 1e9, &Machine::ram_bytes},
    {"gpu_gb", 1e9, &Machine::gpu_bytes},
    {"gpu_context_gb", 1e9, &Machine::gpu_context_bytes},
};
constexpr double kLargest = 1e9;  // gigabytes: more is a mistake, and bytes of it fit into 64 bits

Status read_field(const std::string& name, const nlohmann::json& value, const std::string& source, Machine& machine) {
  if (name == "name" || name == "gpu_name") {
    if (!value.is_string()) return fail(ErrorCode::kInvalidArgument, "{}: {} is no text", source, name);
    (name == "name" ? machine.name : machine.gpu_name) = value.get<std::string>();
    return {};
  }
  const double number = value.is_number() ? value.get<double>() : -1;
  for (const RateField& field : kRates) {
    if (name != field.name) continue;
    if (!(number > 0 && number <= kLargest))
      return fail(ErrorCode::kInvalidArgument, "{}: {} is no positive number", source, name);
    machine.*field.to = number * field.unit;
    return {};
  }
  for (const BytesField& field : kBytes) {
    if (name != field.name) continue;
    if (!(number >= 0 && number <= kLargest))
      return fail(ErrorCode::kInvalidArgument, "{}: {} is no number of gigabytes", source, name);
    machine.*field.to = uint64_t(number * field.unit);
    return {};
  }
  std::string known = "name, gpu_name";
  for (const BytesField& field : kBytes) known += std::string(", ") + field.name;
  for (const RateField& field : kRates) known += std::string(", ") + field.name;
  return fail(ErrorCode::kInvalidArgument, "{}: a machine has no '{}'; it may have: {}", source, printable(name),
              known);
}

}  // namespace

Result<Machine> parse_machine(const std::string& text, const std::string& source) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object())
    return fail(ErrorCode::kInvalidArgument, "{}: is no JSON object that describes a machine", source);
  Machine machine;
  for (const auto& [name, value] : json.items()) METALLIC_TRY(read_field(name, value, source, machine));
  if (machine.ram_bytes == 0)
    return fail(ErrorCode::kInvalidArgument, "{}: says nothing of its RAM: give ram_gb", source);
  machine.has_gpu = machine.gpu_bytes > 0;
  return machine;
}

std::string machine_json(const Machine& machine) {
  nlohmann::ordered_json json = {{"name", machine.name}};
  if (!machine.gpu_name.empty()) json["gpu_name"] = machine.gpu_name;
  for (const BytesField& field : kBytes)
    if (machine.*field.to > 0) json[field.name] = double(machine.*field.to) / field.unit;
  for (const RateField& field : kRates)
    if (machine.*field.to > 0) json[field.name] = machine.*field.to / field.unit;
  return json.dump();
}

}  // namespace metallic
