#include "cli/architecture_table.h"

#include <fmt/format.h>

#include "convert/arch.h"
#include "model/arch_spec.h"

namespace metallic::cli {
namespace {

std::string converted_classes(std::string_view name) {
  std::string classes;
  for (const convert::ConvertArch* arch : convert::all_convert_archs()) {
    if (arch->name != name) continue;
    for (const std::string_view hf_name : arch->hf_names)
      classes += (classes.empty() ? "" : ", ") + std::string(hf_name) +
                 (arch->only_with.empty() ? "" : fmt::format(" with {}", arch->only_with));
  }
  return classes;
}

std::string positions(const ArchSpec& spec) {
  if (!spec.rope) return spec.alibi > 0 ? "ALiBi" : "learned";
  std::string text = spec.rope_style == RopeStyle::kHalves ? "rope, halves" : "rope, neighbours";
  if (spec.no_rope_every != 0) text += fmt::format(", none in 1 of {}", spec.no_rope_every);
  return text;
}

std::string norms(const ArchSpec& spec) {
  std::string text = spec.norm == NormKind::kRms ? "RMS" : "layer";
  if (spec.norms_before) text += ", before";
  if (spec.norms_after) text += ", after";
  if (spec.norms_residual) text += ", of the residual";
  if (spec.head_norms) text += ", Q and K";
  return text;
}

const char* activation(Activation kind) {
  switch (kind) {
    case Activation::kIdentity:
      return "none";
    case Activation::kRelu:
      return "ReLU";
    case Activation::kSilu:
      return "SiLU";
    case Activation::kGelu:
      return "GELU";
    case Activation::kGeluTanh:
      return "GELU (tanh)";
    case Activation::kGeluQuick:
      return "GELU (quick)";
    case Activation::kTanh:
      return "tanh";
    case Activation::kSigmoid:
      return "sigmoid";
  }
  return "";
}

// Which layers see all positions where the file has a window.
std::string global_layers(const ArchSpec& spec) {
  if (spec.global_every == 0) return "none";
  return fmt::format("1 of {}{}", spec.global_every, spec.first_global ? ", the first" : ", the last");
}

std::string other(const ArchSpec& spec) {
  std::string text;
  const auto add = [&](bool holds, const char* what) {
    if (holds) text += (text.empty() ? "" : ", ") + std::string(what);
  };
  add(spec.encoder, "encoder");
  add(spec.parallel_residual, "parallel residual");
  add(spec.scale_embedding, "scaled embedding");
  add(spec.gate_clamp != 0, "clamped gate");
  add(spec.router == RouterKind::kSigmoid, "experts by sigmoid");
  return text;
}

}  // namespace

std::string architecture_table() {
  std::string table =
      "| architecture | converted from | positions | norms | activation | global layers with a window | other |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n";
  for (const ArchSpec* spec : all_arch_specs()) {
    table +=
        fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", spec->name, converted_classes(spec->name),
                    positions(*spec), norms(*spec), activation(spec->activation), global_layers(*spec), other(*spec));
  }
  return table;
}

}  // namespace metallic::cli
