// Plans for tests of residency: every tensor, and every expert, a block of its own.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "convert/convert.h"
#include "memory/plan.h"
#include "metallic/gguf.h"

namespace metallic::testing {

inline std::vector<Block> blocks_of(const GgufFile& file) {
  std::vector<Block> blocks;
  const bool tied = file.find_tensor("output.weight") == nullptr;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const TensorInfo& info = file.tensors()[i];
    const bool experts = info.name.find("_exps.") != std::string_view::npos && info.rank == 3;
    for (int expert = experts ? 0 : -1; expert < (experts ? int(info.size[2]) : 0); ++expert) {
      Block block;
      block.expert = expert;
      block.tensors = {int(i)};
      if (info.name == (tied ? "token_embd.weight" : "output.weight")) block.kind = BlockKind::kHead;
      blocks.push_back(block);
    }
  }
  return blocks;
}

// A tiny model of an architecture, converted to a file that goes with this.
class ConvertedModel {
 public:
  explicit ConvertedModel(const std::string& architecture)
      : folder_(std::filesystem::path(METALLIC_SOURCE_DIR) / "tests" / "data" / "architectures" / architecture),
        path_((std::filesystem::temp_directory_path() /
               ("metallic-plan-" + std::to_string(::getpid()) + "-" + architecture + ".gguf"))
                  .string()),
        converted_(convert::convert_folder(folder_.string(), path_)) {}
  ~ConvertedModel() { std::filesystem::remove(path_); }
  ConvertedModel(const ConvertedModel&) = delete;
  ConvertedModel& operator=(const ConvertedModel&) = delete;

  const std::string& path() const { return path_; }
  const std::filesystem::path& folder() const { return folder_; }
  std::string problem() const { return converted_ ? "" : converted_.error().message; }

 private:
  std::filesystem::path folder_;
  std::string path_;
  decltype(convert::convert_folder("", "")) converted_;
};

}  // namespace metallic::testing
