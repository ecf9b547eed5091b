#include "cli/model_options.h"

#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>

#include "backend/backend.h"
#include "backend/kv_rows.h"
#include "base/error.h"
#include "base/log.h"
#include "base/read_files.h"
#include "base/utf8.h"

namespace metallic::cli {

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("-m,--model", options.path, "the GGUF file; of a split model, any part")->required();
  command
      .add_option("-t,--threads", options.engine.threads,
                  "threads to compute with (0: one per core; beside a GPU one less)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  command.add_flag_callback(
      "--verbose", [] { set_log_level(LogLevel::kInfo); },
      "say more on standard error, such as the plan of the memory");
  command.add_flag("!--no-repack", options.engine.repack,
                   "use the weights as they lie in the file: starts at once, computes more slowly");
  std::string names = "auto";
  for (const char* name : backend_names()) names += ", " + std::string(name);
  options.engine.backend = "auto";
  command.add_option("--backend,--device", options.engine.backend, "where to compute: " + names)->capture_default_str();
}

void add_kv_options(CLI::App& command, ModelOptions& options) {
  std::string types;
  for (const Format format : kKvFormats) {
    types += (types.empty() ? "" : ", ") + std::string(format_info(format).name);
    if (format == Format::kF8_E4M3) types += " (or FP8)";
  }
  const auto format_option = [&](const char* name, const char* short_name, const char* what, Format& format) {
    command.add_option_function<std::string>(
        name,
        [&format, name](const std::string& text) {
          const std::optional<Format> found = kv_format_from_name(text);
          if (!found)
            throw CLI::ValidationError(name, text + " is no type of a KV cache, such as F16, Q8_0 or F8_E4M3");
          format = *found;
        },
        std::string("(") + short_name + ") type of the " + what + " in the KV cache: " + types + " [F16]");
  };
  format_option("--cache-type-k", "-ctk", "keys", options.engine.kv_formats.keys);
  format_option("--cache-type-v", "-ctv", "values", options.engine.kv_formats.values);
}

void add_context_options(CLI::App& command, ModelOptions& options) {
  command
      .add_option_function<int>(
          "-c,--ctx-size", [&options](const int& tokens) { options.engine.context = tokens; },
          "context length in tokens (0 or auto: the model's own, at most 4096, less where memory is short)")
      ->transform(CLI::Transformer(std::map<std::string, std::string>{{"auto", "0"}}))
      ->check(CLI::Range(0, INT32_MAX))
      ->default_str("auto");
  add_kv_options(command, options);
  command
      .add_option("-b,--batch-size", options.engine.batch_rows,
                  "the most tokens evaluated in one step [512, or 2048 where weights are brought for each]")
      ->check(CLI::Range(1, INT32_MAX));
}

namespace {

constexpr size_t kLongestText = size_t(1) << 28;  // bytes; /dev/zero has no end

Result<std::string> read_stream(std::FILE* stream, const std::string& name) {
  std::string text;
  std::vector<char> buffer(size_t(1) << 16);
  while (const size_t size = std::fread(buffer.data(), 1, buffer.size(), stream)) {
    text.append(buffer.data(), size);
    if (text.size() > kLongestText)
      return fail(ErrorCode::kInvalidArgument, "{}: is longer than {} bytes; cut it into pieces", name, kLongestText);
  }
  if (std::ferror(stream) != 0) return fail(ErrorCode::kIo, "{}: cannot read: {}", name, std::strerror(errno));
  return text;
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  const bool standard_input = path == "-";
  const std::string name = standard_input ? "standard input" : path;
  std::FILE* stream = standard_input ? stdin : std::fopen(path.c_str(), "rb");
  if (stream == nullptr)
    return fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot open: {}", path,
                std::strerror(errno));
  struct stat file {};
  if (::fstat(::fileno(stream), &file) == 0) file_was_read(file);
  auto text = read_stream(stream, name);
  if (!standard_input) std::fclose(stream);
  if (!text) return text;
  const size_t bad = find_invalid_utf8(*text);
  if (bad != std::string::npos)
    return fail(ErrorCode::kInvalidArgument, "{}: byte {} is not UTF-8; convert the text to UTF-8 first", name, bad);
  return text;
}

Result<std::vector<TokenId>> parse_token_ids(const std::string& text) {
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at != end && (*at == ',' || *at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
    if (at == end) break;
    TokenId id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() ||
        (next != end && *next != ',' && *next != ' ' && *next != '\n' && *next != '\t' && *next != '\r'))
      return fail(ErrorCode::kInvalidArgument, "'{}' is no token id; ids are whole numbers separated by commas",
                  std::string(at, std::min(end, at + 20)));
    ids.push_back(id);
    at = next;
  }
  if (ids.empty()) return fail(ErrorCode::kInvalidArgument, "no token ids were given; write them like 1,2,3");
  return ids;
}

}  // namespace metallic::cli
