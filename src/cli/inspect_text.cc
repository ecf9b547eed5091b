// What `metallic inspect` shows a person. Text from the file is escaped: it may hold anything.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/printable.h"
#include "cli/inspect_report.h"

namespace metallic::cli {
namespace {

constexpr size_t kTextLimit = 64;    // characters of one value
constexpr size_t kArrayShown = 4;    // elements of one array
constexpr size_t kStringShown = 20;  // characters of one string in an array

std::string with_unit(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = double(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit < 5; ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string in_words(uint64_t count) {
  if (count >= 1'000'000'000) return fmt::format("{:.2f} billion", double(count) * 1e-9);
  if (count >= 1'000'000) return fmt::format("{:.1f} million", double(count) * 1e-6);
  return fmt::format("{}", count);
}

std::string shorten(const MetadataValue& value, size_t limit);

std::string shorten(const MetadataArray& array) {
  std::string out = fmt::format("{}[{}]", metadata_type_name(array.element_type()), array.size());
  const size_t shown = std::min(array.size(), kArrayShown);
  for (size_t i = 0; i < shown; ++i) {
    const MetadataValue element = array.at(i);
    out += i == 0 ? " " : ", ";
    out += element.as_array() != nullptr ? fmt::format("{}[{}]", metadata_type_name(element.as_array()->element_type()),
                                                       element.as_array()->size())
                                         : shorten(element, kStringShown);
  }
  return shown < array.size() ? out + ", ..." : out;
}

std::string shorten(const MetadataValue& value, size_t limit) {
  if (const auto text = value.as_string()) return fmt::format("\"{}\"", printable(*text, limit));
  if (const MetadataArray* array = value.as_array()) return shorten(*array);
  if (const auto flag = value.as_bool()) return *flag ? "true" : "false";
  if (const auto number = value.as_unsigned()) return fmt::format("{}", *number);
  if (const auto number = value.as_signed()) return fmt::format("{}", *number);
  if (value.type() == MetadataType::kFloat32) return fmt::format("{}", float(*value.as_number()));
  return fmt::format("{}", *value.as_number());
}

void append_line(std::string& out, std::string_view name, std::string_view text) {
  fmt::format_to(std::back_inserter(out), "{:<15} {}\n", name, text);
}

// "1 '<s>'": a special token's id and text, as far as the file knows it.
std::string describe_token(const GgufFile& file, const MetadataValue& id) {
  const MetadataValue* tokens = file.find("tokenizer.ggml.tokens");
  const auto texts = tokens != nullptr && tokens->as_array() != nullptr ? tokens->as_array()->strings() : std::nullopt;
  const auto index = id.as_unsigned();
  if (!texts || !index || *index >= texts->size()) return shorten(id, kTextLimit);
  return fmt::format("{} '{}'", *index, printable((*texts)[size_t(*index)], kStringShown));
}

void append_tokenizer(std::string& out, const GgufFile& file) {
  const MetadataValue* model = file.find("tokenizer.ggml.model");
  if (model == nullptr) return append_line(out, "tokenizer", "none");
  std::string line = shorten(*model, kTextLimit);
  if (const MetadataValue* pre = file.find("tokenizer.ggml.pre"))
    line += fmt::format(", pre-tokeniser {}", shorten(*pre, kTextLimit));
  const auto count = [&](const char* key, const char* what) {
    const MetadataValue* value = file.find(key);
    if (value != nullptr && value->as_array() != nullptr)
      line += fmt::format(", {} {}", value->as_array()->size(), what);
  };
  count("tokenizer.ggml.tokens", "tokens");
  count("tokenizer.ggml.merges", "merges");
  for (const char* name : {"bos", "eos"})
    if (const MetadataValue* id = file.find(fmt::format("tokenizer.ggml.{}_token_id", name)))
      line += fmt::format(", {} {}", name, describe_token(file, *id));
  append_line(out, "tokenizer", line);
  const MetadataValue* chat = file.find("tokenizer.chat_template");
  const bool has_template = chat != nullptr && chat->as_string();
  append_line(out, "chat template", has_template ? fmt::format("{} bytes", chat->as_string()->size()) : "none");
}

void append_text_value(std::string& out, const GgufFile& file, std::string_view name, const char* key) {
  const MetadataValue* value = file.find(key);
  const auto text = value != nullptr ? value->as_string() : std::nullopt;
  append_line(out, name, text ? printable(*text, kTextLimit) : "not stated");
}

std::string summary(const GgufFile& file) {
  std::string out;
  std::string name = printable(file.path(), std::string::npos);
  if (file.file_count() > 1) name += fmt::format(" ({} parts)", file.file_count());
  append_line(out, "file", name);
  append_line(out, "version", fmt::format("GGUF {}, alignment {}", file.version(), file.alignment()));
  append_line(out, "size", fmt::format("{} ({} bytes)", with_unit(file.file_bytes()), file.file_bytes()));
  append_text_value(out, file, "architecture", "general.architecture");
  append_text_value(out, file, "name", "general.name");
  uint64_t parameters = 0;
  for (const TensorInfo& info : file.tensors()) parameters += info.elements();
  append_line(out, "parameters", fmt::format("{} ({})", in_words(parameters), parameters));
  const std::optional<uint64_t> context = context_length(file);
  append_line(out, "context length", context ? fmt::format("{} tokens", *context) : "not stated");
  append_tokenizer(out, file);
  return out;
}

std::string format_table(const GgufFile& file) {
  std::string out = fmt::format("\ntensors: {}\n", file.tensors().size());
  for (const FormatTotal& total : total_by_format(file)) {
    const double bits = double(total.bytes) * 8 / double(total.elements);
    fmt::format_to(std::back_inserter(out), "  {:<8} {:>5} tensors {:>15} elements {:>12} {:>7.3f} bits each\n",
                   format_info(total.format).name, total.tensors, total.elements, with_unit(total.bytes), bits);
  }
  return out;
}

size_t widest_key(const GgufFile& file) {
  size_t width = 0;
  for (const MetadataEntry& entry : file.metadata()) width = std::max(width, entry.key.size());
  return std::min<size_t>(width, 48);
}

Status write_metadata(const GgufFile& file, const Emit& emit) {
  METALLIC_TRY(emit(fmt::format("\nmetadata: {} keys\n", file.metadata().size())));
  const size_t width = widest_key(file);
  for (const MetadataEntry& entry : file.metadata()) {
    METALLIC_TRY(emit(fmt::format("  {:<{}}  {:<8} {}\n", printable(entry.key, 200), width,
                                  metadata_type_name(entry.value.type()), shorten(entry.value, kTextLimit))));
  }
  return {};
}

Status write_tensors(const GgufFile& file, const Emit& emit) {
  size_t width = 4;
  for (const TensorInfo& info : file.tensors()) width = std::max(width, info.name.size());
  width = std::min<size_t>(width, 48);
  METALLIC_TRY(emit(fmt::format("\n  {:<{}}  {:<24} {:<8} {:>14} {:>16}\n", "name", width, "shape (fastest first)",
                                "format", "bytes", "offset")));
  for (const TensorInfo& info : file.tensors()) {
    const std::string shape = fmt::format("{}", fmt::join(info.size.begin(), info.size.begin() + info.rank, " x "));
    std::string offset = fmt::format("{}", info.offset);
    if (file.file_count() > 1) offset = fmt::format("part {}: {}", info.file + 1, offset);
    METALLIC_TRY(emit(fmt::format("  {:<{}}  {:<24} {:<8} {:>14} {:>16}\n", printable(info.name, 200), width, shape,
                                  format_info(info.format).name, info.bytes, offset)));
  }
  return {};
}

}  // namespace

Status write_text_report(const GgufFile& file, bool tensors, const Emit& emit) {
  METALLIC_TRY(emit(summary(file) + format_table(file)));
  if (tensors) METALLIC_TRY(write_tensors(file, emit));
  return write_metadata(file, emit);
}

}  // namespace metallic::cli
