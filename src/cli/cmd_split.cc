// metallic split and metallic merge: one GGUF file to several and back.
#include <cstdint>
#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"
#include "convert/split_file.h"

namespace metallic::cli {
namespace {

struct SplitOptions {
  std::string input, prefix, max_size;
  uint64_t max_tensors = 0;
};

Status split(const SplitOptions& options) {
  convert::SplitLimits limits{0, options.max_tensors};
  if (!options.max_size.empty()) {
    METALLIC_ASSIGN(limits.max_bytes, convert::parse_size(options.max_size));
  }
  if (limits.max_bytes == 0 && limits.max_tensors == 0)
    return fail(ErrorCode::kInvalidArgument, "give --max-size or --max-tensors");
  METALLIC_ASSIGN(const auto paths, convert::split_gguf(options.input, options.prefix, limits));
  for (const std::string& path : paths) fmt::print(stderr, "{}\n", path);
  return {};
}

}  // namespace

void add_split(CLI::App& root, Action& action) {
  auto options = std::make_shared<SplitOptions>();
  CLI::App* command = root.add_subcommand("split", "Split a GGUF file into parts");
  command->add_option("IN", options->input, "the GGUF file")->required();
  command->add_option("OUTPREFIX", options->prefix, "parts are named OUTPREFIX-00001-of-00003.gguf")->required();
  command->add_option("--max-size", options->max_size, "most bytes of tensors in a part: 2G, 500M");
  command->add_option("--max-tensors", options->max_tensors, "most tensors in a part")->check(CLI::Range(1, INT32_MAX));
  command->footer("Example:\n  metallic split model.gguf parts/model --max-size 2G");
  command->callback([options, &action] { action = [options] { return split(*options); }; });
}

void add_merge(CLI::App& root, Action& action) {
  auto paths = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App* command = root.add_subcommand("merge", "Put the parts of a split GGUF file together");
  command->add_option("IN", paths->first, "any part; the others lie beside it")->required();
  command->add_option("OUT", paths->second, "the GGUF file to write")->required();
  command->footer("Example:\n  metallic merge parts/model-00001-of-00003.gguf model.gguf");
  command->callback(
      [paths, &action] { action = [paths] { return convert::merge_gguf(paths->first, paths->second); }; });
}

}  // namespace metallic::cli
