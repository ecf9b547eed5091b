// A Hugging Face folder: config.json, tokenizer.json and tokenizer_config.json, each ended by a NUL byte, then the
// bytes of model.safetensors. What it is converted to must open again.
#include "convert/convert.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "metallic/gguf.h"

namespace {

// One folder for the life of the process; in memory where the system has a place for that.
class Folder {
 public:
  Folder() {
    std::string name =
        std::filesystem::exists("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path().string();
    name += "/metallic-fuzz-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) __builtin_trap();
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const char* name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    const std::string_view text = rest.substr(0, rest.find('\0'));
    if (text.empty() && name != std::string_view("config.json"))
      std::filesystem::remove(folder.file(name));
    else
      std::ofstream(folder.file(name), std::ios::binary) << text;
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
  }
  std::ofstream(folder.file("model.safetensors"), std::ios::binary) << rest;
  const std::string output = folder.file("out.gguf");
  const auto summary = metallic::convert::convert_folder(folder.path(), output, {.threads = 1});
  if (!summary) {
    if (summary.error().message.empty() || std::filesystem::exists(output)) __builtin_trap();
    return 0;
  }
  if (!metallic::GgufFile::open(output)) __builtin_trap();
  std::filesystem::remove(output);
  return 0;
}
